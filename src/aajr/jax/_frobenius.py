"""Global Frobenius penalty: a bound in all directions."""

from __future__ import annotations

from dataclasses import dataclass

import jax
from jax import Array

from aajr import _shared
from aajr.jax._functions import Policy, joined
from aajr.jax._norms import projected_squared
from aajr.jax._penalty import JacobianPenalty, required_draws
from aajr.jax._pytree import pytree
from aajr.jax._trajectory import Trajectory


@pytree("mask")
@_shared.documented
@dataclass(frozen=True, eq=False, kw_only=True)
class Frobenius(_shared.Frobenius, JacobianPenalty):
    """
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from aajr.jax import Ball, UniformNoise
        >>> policy, key = lambda x: x * jnp.array([1.0, 2.0]), jax.random.key(0)
        >>> trajectory = UniformNoise(Ball("l2", 0.1))(policy, jnp.ones((8, 2)), key)
        >>> Frobenius(projections=2000)(policy, trajectory, key).round()
        Array(5., dtype=float32)
    """

    def draw(self, trajectory: Trajectory, key: Array) -> Array:
        """The projections, ``[projections, points * batch, *output]``."""
        points, batch = self.evaluation_points(trajectory).shape[:2]
        output = trajectory.reference.outputs
        shape = (self.projections, points * batch, *output.shape[1:])
        return jax.random.normal(key, shape, output.dtype)

    def per_sample(self, policy: Policy, trajectory: Trajectory, draws: Array | None) -> Array:
        """‖J‖²_F, averaged over the points: ``[batch]``."""
        x = self.evaluation_points(trajectory)
        values = projected_squared(
            policy, joined(x), required_draws(draws), metric=self.metric, mask=self.mask
        )
        return values.reshape(x.shape[:2]).mean(0)
