"""Global spectral penalty: a bound on the most sensitive direction of all."""

from __future__ import annotations

from dataclasses import dataclass

import jax
from jax import Array

from aajr import _shared
from aajr.jax._functions import Policy, joined
from aajr.jax._norms import iterated_squared
from aajr.jax._penalty import JacobianPenalty, required_draws
from aajr.jax._pytree import pytree
from aajr.jax._trajectory import Trajectory


@pytree("mask")
@_shared.documented
@dataclass(frozen=True, eq=False, kw_only=True)
class Spectral(_shared.Spectral, JacobianPenalty):
    """
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from aajr.jax import Ball, UniformNoise
        >>> policy, key = lambda x: x * jnp.array([1.0, 2.0]), jax.random.key(0)
        >>> trajectory = UniformNoise(Ball("l2", 0.1))(policy, jnp.ones((8, 2)), key)
        >>> Spectral(iterations=20)(policy, trajectory, key).round()
        Array(4., dtype=float32)
    """

    def draw(self, trajectory: Trajectory, key: Array) -> Array:
        """The first directions, ``[points * batch, *event]``."""
        x = joined(self.evaluation_points(trajectory))
        return jax.random.normal(key, x.shape, x.dtype)

    def per_sample(self, policy: Policy, trajectory: Trajectory, draws: Array | None) -> Array:
        """‖J‖₂², averaged over the points: ``[batch]``."""
        x = self.evaluation_points(trajectory)
        values = iterated_squared(
            policy,
            joined(x),
            required_draws(draws),
            metric=self.metric,
            iterations=self.iterations,
            mask=self.mask,
            estimator=self.estimator,
        )
        return values.reshape(x.shape[:2]).mean(0)
