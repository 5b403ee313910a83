"""How far to go along the projection arc δ(η) = P_Δ(δ_k + η S(g_k)), per sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from aajr._settings import StepRule as StepRule
from aajr.jax._functions import length, over_rows, per_row, row_sum, unit

_SUFFICIENT = 1e-4
_HALVINGS = 30


class Passes(NamedTuple):
    """Passes that a rule needs beyond the gradient, in units of the whole batch."""

    forward: float | Array = 0
    curvature: float | Array = 0


@dataclass(frozen=True, eq=False)
class Arc:
    """The points to which steps of different sizes lead.

    Attributes:
        delta: δ_k, ``[batch, *event]``.
        gradient: g_k, ``[batch, *event]``.
        direction: S(g_k), ``[batch, *event]``.
        loss: F(δ_k), ``[batch]``.
        project: P_Δ.
        score: F of candidates, ``[batch, *event]`` to ``[batch]``.
        curvature: dᵀ∇²F(δ_k) d for unit directions d, ``[batch, *event]`` to ``[batch]``.
        size: ‖v/s‖_p of directions, ``[batch, *event]``, with dimensions of one for the budget.
    """

    delta: Array
    gradient: Array
    direction: Array
    loss: Array
    project: Callable[[Array], Array]
    score: Callable[[Array], Array]
    curvature: Callable[[Array], Array]
    size: Callable[[Array], Array]

    def at(self, size: float | Array) -> Array:
        """δ(η); sizes broadcast to ``[batch, *event]``."""
        return self.project(self.delta + size * self.direction)


def fixed(arc: Arc, size: float | Array) -> tuple[Array, Passes]:
    """η is the step size."""
    return arc.at(size), Passes()


def normalized(arc: Arc, size: float | Array) -> tuple[Array, Passes]:
    """η = size / ‖S(g)/s‖_p, so that every step before projection is ``size`` long in the ball."""
    norm = arc.size(arc.direction)
    return arc.at(jnp.where(norm > 0, size / jnp.where(norm > 0, norm, 1.0), 0.0)), Passes()


def stable(arc: Arc, size: float | Array) -> tuple[Array, Passes]:
    """η from the effective smoothness measured along the step, halved where the loss still falls.

    With d the unit direction of the step that η = size would make, the length r = ⟨g, d⟩/L_eff
    maximises the guaranteed gain r⟨g, d⟩ - ½L_eff r²; it is half of the largest stable length.
    L_eff is measured only at the start of the segment, so a step that lowers F is halved as well.
    """
    whole = arc.at(size) - arc.delta
    dims = per_row(whole)
    d = unit(whole, dims)
    slope = jnp.maximum((arc.gradient * d).sum(dims, keepdims=True), 0.0)
    bend = over_rows(jnp.abs(arc.curvature(d)), slope) * length(whole, dims)
    share = jnp.where(bend > slope, slope / jnp.where(bend > slope, bend, 1.0), 1.0)
    delta, trials = _back_off(arc, size * share, sufficient=0.0)
    return delta, Passes(trials, 1)


def backtracking(arc: Arc, size: float | Array) -> tuple[Array, Passes]:
    """The largest of η = size, size/2, size/4, ... with a sufficient increase.

    F(δ(η)) - F(δ_k) ≥ 10⁻⁴ ⟨g_k, δ(η) - δ_k⟩, Armijo's rule along the projection arc. A sample
    for which no size passes stays where it is.

    Source: Bertsekas, On the Goldstein-Levitin-Polyak gradient projection method, 1976.
    """
    start = jnp.full((arc.delta.shape[0], *[1] * (arc.delta.ndim - 1)), size, arc.delta.dtype)
    delta, trials = _back_off(arc, start, sufficient=_SUFFICIENT)
    return delta, Passes(trials)


def _back_off(arc: Arc, size: Array, sufficient: float) -> tuple[Array, Array]:
    """Halve the sizes ``[batch, 1, ...]`` of the rows that gain too little.

    Shapes are static under jit, so every trial scores the whole batch.
    """
    Trial = tuple[Array, Array, Array, Array]

    def unfinished(trial: Trial) -> Array:
        _, _, pending, trials = trial
        return (trials < _HALVINGS) & pending.any()

    def halve(trial: Trial) -> Trial:
        delta, size, pending, trials = trial
        candidate = arc.at(size)
        rise = row_sum(arc.gradient * (candidate - arc.delta))
        gain = arc.score(candidate) - arc.loss
        accepted = pending & (gain >= jnp.maximum(sufficient * rise, 0.0))
        delta = jnp.where(over_rows(accepted, delta), candidate, delta)
        return delta, size / 2, pending & ~accepted, trials + 1

    first = (arc.delta, size, jnp.ones(len(arc.delta), bool), jnp.zeros((), arc.delta.dtype))
    delta, _, _, trials = lax.while_loop(unfinished, halve, first)
    return delta, trials


STEP_RULES: dict[str, Callable[[Arc, float | Array], tuple[Array, Passes]]] = {
    "fixed": fixed,
    "normalized": normalized,
    "stable": stable,
    "backtracking": backtracking,
}
