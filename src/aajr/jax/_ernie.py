"""ERNIE: adversarial Lipschitz regularisation for multi-agent learning."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array, lax

from aajr import _shared
from aajr.jax._ball import Ball
from aajr.jax._functions import Policy, limits, with_constant_closure
from aajr.jax._penalty import Penalty, required_draws
from aajr.jax._pytree import pytree
from aajr.jax._trajectory import Trajectory


@pytree("ball")
@_shared.documented
@dataclass(frozen=True, eq=False, kw_only=True)
class ERNIE(_shared.ERNIE, Penalty):
    """
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from aajr.jax import Ball, UniformNoise
        >>> policy, key, ball = lambda x: 3 * x, jax.random.key(0), Ball("l2", 0.1)
        >>> trajectory = UniformNoise(ball)(policy, jnp.ones((8, 2)), key)
        >>> round(ERNIE(ball=ball, steps=5)(policy, trajectory, key).item(), 4)
        0.3
    """

    ball: Ball

    def draw(self, trajectory: Trajectory, key: Array) -> Array:
        """The first perturbation, ``[batch, *event]``."""
        return self.ball.sample(trajectory.origin, key)

    def per_sample(self, policy: Policy, trajectory: Trajectory, draws: Array | None) -> Array:
        """The largest change found for every sample, ``[batch]``."""
        x, clean = trajectory.origin, trajectory.reference.outputs
        change = with_constant_closure(
            lambda point: self.metric.divergence(clean, policy(point)), x
        )

        def ascend(_: int, delta: Array) -> Array:
            values, pull = jax.vjp(change, self.ball.perturbed(x, delta))
            gradient = pull(jnp.ones_like(values))[0] * self.ball.attackable(x)
            step = self.ball.epsilon * self.ball.steepest(gradient)
            return self.ball.project_scaled(delta + step, x)

        delta = lax.fori_loop(0, self.steps, ascend, required_draws(draws))
        both = jnp.concatenate([x, self.ball.perturbed(x, delta)])
        original, attacked = jnp.split(policy(both), 2)
        squared = 2 * self.metric.divergence(original, attacked)
        # the floor keeps the square root's gradient finite where the output did not move
        return jnp.sqrt(jnp.maximum(squared, limits(squared).tiny))
