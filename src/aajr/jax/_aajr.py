"""Adversarially-aligned Jacobian regularisation."""

from __future__ import annotations

from dataclasses import dataclass, field

import jax.numpy as jnp
from jax import Array

from aajr import _shared
from aajr._shared import along
from aajr.jax._directional import difference, directional_derivative
from aajr.jax._functions import Policy, joined, wide
from aajr.jax._inspection import inspect
from aajr.jax._penalty import JacobianPenalty
from aajr.jax._pytree import pytree
from aajr.jax._running_mean import RunningMean
from aajr.jax._trajectory import Trajectory


@pytree("gamma", "gradient_scale")
@_shared.documented
@dataclass(frozen=True, eq=False, kw_only=True)
class AAJR(_shared.AAJR, JacobianPenalty):
    """
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from aajr.jax import Ball, ProjectedGradientAscent
        >>> weight, key = jnp.array([[3.0, 0.0], [0.0, 50.0]]), jax.random.key(0)
        >>> policy = lambda x: x @ weight
        >>> first = lambda output, reference: output[:, 0]
        >>> attack = ProjectedGradientAscent(Ball("l2", 0.1), first)
        >>> trajectory = attack(policy, jnp.zeros((8, 2)), key)
        >>> AAJR(estimator="forward_mode")(policy, trajectory, key)
        Array(9., dtype=float32)
    """

    gradient_scale: RunningMean = field(default_factory=RunningMean)

    def per_sample(
        self, policy: Policy, trajectory: Trajectory, draws: Array | None = None
    ) -> Array:
        """‖J v‖²_M, or its hinge, averaged over the points: ``[batch]``."""
        values = self._squared_norms(policy, trajectory)
        if self.direction == "gradient":
            values = self.gradient_scale.normalized(values)
        if self.gamma is not None:
            # the clamp keeps the square root's gradient finite where the hinge is zero
            outside = jnp.maximum(values, self.gamma**2)
            values = jnp.square(jnp.sqrt(outside) - self.gamma)
        return values.mean(0)

    def _squared_norms(self, policy: Policy, trajectory: Trajectory) -> Array:
        if self.estimator == "secant":
            return self._secant(policy, trajectory)
        x = self.evaluation_points(trajectory)
        v = self._directions(trajectory)
        output, product = directional_derivative(policy, joined(x), joined(v), self.estimator)
        return self.metric.squared_norm(output, product).reshape(x.shape[:2])

    def _secant(self, policy: Policy, trajectory: Trajectory) -> Array:
        step = along(trajectory.steps, self.points)
        length = jnp.square(wide(step)).sum(tuple(range(2, step.ndim)))
        if trajectory.outputs is not None:
            kept = joined(along(trajectory.outputs[:-1], self.points))
            moved = joined(along(trajectory.outputs[1:], self.points))
            epsilon = inspect(policy, trajectory.origin)
            start, change = kept, difference(kept, moved, epsilon)
        else:
            x = joined(self.evaluation_points(trajectory))
            start, change = directional_derivative(policy, x, joined(step), "secant")
        squared = self.metric.squared_norm(start, change).reshape(length.shape)
        return jnp.where(length > 0, squared / jnp.where(length > 0, length, 1.0), 0.0)
