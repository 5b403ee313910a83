"""SA and SR²L: the divergence at the worst point."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from aajr import _shared
from aajr.jax._functions import Policy
from aajr.jax._penalty import Penalty
from aajr.jax._pytree import pytree
from aajr.jax._trajectory import Trajectory


@pytree()
@_shared.documented
@dataclass(frozen=True, eq=False, kw_only=True)
class StateAdversarial(_shared.StateAdversarial, Penalty):
    """
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from aajr.jax import Ball, ProjectedGradientAscent
        >>> policy, key = lambda x: 3 * x, jax.random.key(0)
        >>> attack = ProjectedGradientAscent(Ball("l2", 0.2), steps=20)
        >>> trajectory = attack(policy, jnp.ones((8, 2)), key)
        >>> round(StateAdversarial()(policy, trajectory, key).item(), 4)  # (3 · 0.2)² / 2
        0.18
    """

    def per_sample(
        self, policy: Policy, trajectory: Trajectory, draws: Array | None = None
    ) -> Array:
        """The divergence of every sample, ``[batch]``."""
        both = policy(jnp.concatenate([trajectory.origin, trajectory.worst]))
        clean, attacked = jnp.split(both, 2)
        value = self.metric.divergence(clean, attacked)
        return value + self.metric.divergence(attacked, clean) if self.symmetric else value
