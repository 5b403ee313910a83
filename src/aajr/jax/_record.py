"""The record of a search by steps: points, gradients, losses and the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from aajr.jax._functions import over_rows
from aajr.jax._step_rules import Passes


class Visit(NamedTuple):
    """The results at one point, arrays of the batch, or at several points, ``[steps, ...]``."""

    point: Array
    gradient: Array
    loss: Array
    output: Array | None
    passes: Passes


Step = Callable[[Array], tuple[Array, Visit]]
"""Map δ_k to δ_{k+1} and the visit of x + δ_k."""


Best = tuple[Array, Array]
"""The point of highest loss of every sample, and that loss."""


def every_visit(step: Step, start: Array, steps: int) -> tuple[Array, Visit, None]:
    """The last δ and all visits, ``[steps, ...]``."""
    delta, visits = lax.scan(lambda delta, _: step(delta), start, None, length=steps)
    return delta, visits, None


def last_visit(step: Step, start: Array, steps: int) -> tuple[Array, Visit, Best]:
    """The last δ, the last visit ``[1, ...]`` with the sum of all passes, and the best point."""
    shapes = jax.eval_shape(step, start)[1]
    empty: Visit = jax.tree.map(lambda part: jnp.zeros(part.shape, part.dtype), shapes)
    lowest = empty.point, jnp.full_like(empty.loss, -jnp.inf)

    def advance(carry: tuple[Array, Visit, Best], _: None) -> tuple[Any, None]:
        delta, before, best = carry
        after, seen = step(delta)
        passes = jax.tree.map(jnp.add, before.passes, seen.passes)
        return (after, seen._replace(passes=passes), higher(best, (seen.point, seen.loss))), None

    (delta, seen, best), _ = lax.scan(advance, (start, empty, lowest), None, length=steps)
    return delta, jax.tree.map(lambda value: value[None], seen), best


def higher(first: Best, second: Best) -> Best:
    """Per sample, the point of the higher loss and that loss; NaN counts as highest."""
    better = (second[1] > first[1]) | jnp.isnan(second[1])
    point = jnp.where(over_rows(better, second[0]), second[0], first[0])
    return point, jnp.where(better, second[1], first[1])


def highest(points: Array, losses: Array) -> Array:
    """The point of highest loss of every sample: ``[K, batch, *event]`` to ``[batch, *event]``."""
    return points[losses.argmax(0), jnp.arange(points.shape[1])]
