"""What an adversary maximises: functions of the policy's output, one loss per sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jax import Array

from aajr import _shared
from aajr.jax._ball import Ball
from aajr.jax._checks import check_count, check_key, is_array, is_traced
from aajr.jax._functions import Policy
from aajr.jax._metrics import Euclidean, Metric
from aajr.jax._rows import in_parts
from aajr.jax._trajectory import Objective, Reference


@_shared.documented
@dataclass(frozen=True)
class Divergence(_shared.Divergence):
    """
    Example:
        >>> import jax.numpy as jnp
        >>> reference = Reference(jnp.zeros((1, 2)), outputs=jnp.zeros((1, 2)))
        >>> Divergence()(jnp.array([[3.0, 4.0]]), reference)
        Array([12.5], dtype=float32)
    """

    metric: Metric = field(default_factory=Euclidean)


@_shared.documented
@dataclass(frozen=True)
class Targeted(_shared.Targeted):
    """
    Example:
        >>> import jax.numpy as jnp
        >>> data = {"target": jnp.array([[3.0, 4.0]])}
        >>> Targeted()(jnp.zeros((1, 2)), Reference(jnp.ones((1, 2)), jnp.zeros((1, 2)), data))
        Array([-12.5], dtype=float32)
    """

    metric: Metric = field(default_factory=Euclidean)


def objective_scale(
    objective: Objective,
    policy: Policy,
    x: Array,
    ball: Ball,
    key: Array,
    draws: int = 8,
    data: Mapping[str, Array] | None = None,
) -> Array:
    """Root mean square of ℓ(π(x + δ)) - ℓ(π(x)) over uniform δ: the scale of an objective.

    Args:
        objective: ℓ.
        policy: the victim.
        x: clean inputs, ``[batch, *event]``.
        ball: the threat set.
        key: source of the draws.
        draws: number of draws per sample.
        data: what the objective reads.

    Returns:
        The scale, for :class:`Mixture`, ``[]``.

    Raises:
        ValueError: an objective that does not change in the ball (outside jit); a count that is
            not positive.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from aajr.jax import LeastValue
        >>> ball, x = Ball("linf", 3.0), jnp.zeros((1000, 1))
        >>> scale = objective_scale(LeastValue(), lambda x: x, x, ball, jax.random.key(0))
        >>> round(scale.item(), 1)  # 3/√3
        1.7
    """
    check_count("draws", draws)
    check_key(key)
    ball.check(x)
    outputs = in_parts(lambda part: policy(part(x)), len(x))
    reference = Reference(x, outputs, dict(data or {}))
    clean = checked_loss(objective, outputs, reference)

    def squared_change(draw: Array) -> Array:
        points = x + ball.sample(x, draw)
        attacked = in_parts(
            lambda part: checked_loss(objective, policy(part(points)), part(reference)), len(x)
        )
        return jnp.square(attacked - clean)

    changes = jax.lax.map(squared_change, jax.random.split(key, draws))
    scale = jax.lax.stop_gradient(jnp.sqrt(changes.mean()))
    if not is_traced(scale) and scale == 0:
        raise ValueError(
            "the objective does not change in the ball, so it has no scale; use a larger epsilon "
            "or another objective"
        )
    return scale


def checked_loss(objective: Objective, output: Array, reference: Reference) -> Array:
    """ℓ(output), ``[batch]``.

    Raises:
        ValueError: an objective that does not give one loss per sample.
    """
    loss = objective(output, reference)
    expected = reference.inputs.shape[:1]
    if not is_array(loss) or loss.shape != expected:
        kind = loss.shape if is_array(loss) else type(loss).__name__
        raise ValueError(
            f"the objective returned {kind}; it must return one loss per sample, shape {expected}"
        )
    return loss
