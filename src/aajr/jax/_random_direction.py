"""Random directions: the cost of AAJR without the alignment."""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
from jax import Array

from aajr import _shared
from aajr.jax._checks import check_mask
from aajr.jax._directional import directional_derivative
from aajr.jax._functions import Policy, joined
from aajr.jax._penalty import JacobianPenalty, required_draws
from aajr.jax._pytree import pytree
from aajr.jax._running_mean import RunningMean
from aajr.jax._trajectory import Trajectory


@pytree("mask", "gradient_scale")
@_shared.documented
@dataclass(frozen=True, eq=False, kw_only=True)
class RandomDirection(_shared.RandomDirection, JacobianPenalty):
    """
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from aajr.jax import Ball, UniformNoise
        >>> policy, key = lambda x: 3 * x, jax.random.key(0)
        >>> trajectory = UniformNoise(Ball("l2", 0.1))(policy, jnp.ones((8, 2)), key)
        >>> RandomDirection(estimator="forward_mode")(policy, trajectory, key).round()
        Array(9., dtype=float32)
    """

    gradient_scale: RunningMean = field(default_factory=RunningMean)

    def draw(self, trajectory: Trajectory, key: Array) -> Array:
        """Gaussian vectors with the directions r, ``[points, batch, *event]``."""
        x = self.evaluation_points(trajectory)
        return jax.random.normal(key, x.shape, x.dtype)

    def per_sample(self, policy: Policy, trajectory: Trajectory, draws: Array | None) -> Array:
        """‖J r‖²_M, weighted, averaged over the points: ``[batch]``."""
        check_mask("mask", self.mask, trajectory.origin)
        x, noise = self.evaluation_points(trajectory), required_draws(draws)
        r = trajectory.unit(noise if self.mask is None else noise * self.mask)
        output, product = directional_derivative(policy, joined(x), joined(r), self.estimator)
        values = self.metric.squared_norm(output, product).reshape(x.shape[:2])
        if self.weight == "gradient":
            values = values * self.gradient_scale.normalized(self._squared_gradients(trajectory))
        return values.mean(0)
