"""Input-gradient penalty: flatten the loss instead of the policy."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from aajr import _shared
from aajr.jax._functions import Policy, row_sum, wide
from aajr.jax._penalty import JacobianPenalty
from aajr.jax._pytree import pytree
from aajr.jax._trajectory import Objective, Trajectory


@pytree()
@_shared.documented
@dataclass(frozen=True, eq=False, kw_only=True)
class InputGradient(_shared.InputGradient, JacobianPenalty):
    """
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from aajr.jax import Ball, UniformNoise
        >>> policy, key = lambda x: 3 * x, jax.random.key(0)
        >>> trajectory = UniformNoise(Ball("l2", 0.1))(policy, jnp.ones((8, 2)), key)
        >>> total = lambda output, reference: output.sum(1)
        >>> InputGradient(objective=total)(policy, trajectory, key)
        Array(18., dtype=float32)
    """

    objective: Objective

    def per_sample(
        self, policy: Policy, trajectory: Trajectory, draws: Array | None = None
    ) -> Array:
        """Squared norm of the loss's gradient, averaged over the points: ``[batch]``."""

        def at(point: Array) -> Array:
            losses, pull = jax.vjp(lambda x: self.objective(policy(x), trajectory.reference), point)
            return row_sum(jnp.square(wide(pull(jnp.ones_like(losses))[0])))

        return jax.vmap(at)(self.evaluation_points(trajectory)).mean(0)
