"""The base of every adversary: draws from a key, and a search that is a function of the draws."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from aajr._errors import ContractError, MaskedGradientWarning
from aajr.jax._ball import Ball
from aajr.jax._checks import check_data, check_finite, check_key, check_output, is_traced
from aajr.jax._functions import Policy
from aajr.jax._inspection import inspect
from aajr.jax._pytree import pytree
from aajr.jax._rows import in_parts
from aajr.jax._trajectory import Objective, Reference, Trajectory


class Adversary(ABC):
    """Searches a ball for the perturbation that maximises its objective.

    A subclass writes :meth:`draw` and :meth:`run`. Every adversary is a pytree and its call a pure
    function that works under jit, vmap and grad. The trajectory is constant for the parameters.

    Attributes:
        ball: the threat set.
        objective: ℓ, what it maximises, if anything.
    """

    ball: Ball
    objective: Objective | None = None

    @abstractmethod
    def draw(self, x: Array, key: Array) -> Array:
        """All random numbers of a search around x."""

    @abstractmethod
    def run(self, policy: Policy, reference: Reference, draws: Array) -> Trajectory:
        """Search around ``reference.inputs``, a deterministic function of the draws."""

    @final
    def __call__(
        self,
        policy: Policy,
        x: Array,
        key: Array,
        data: Mapping[str, Array] | None = None,
    ) -> Trajectory:
        """Attack the policy at x.

        Args:
            policy: map from ``[batch, *event]`` to ``[batch, *output]``, independent between rows;
                a network with dropout or batch statistics in its inference mode.
            x: clean inputs, ``[batch, *event]``.
            key: source of all randomness.
            data: arrays with one row per sample that the objective reads.

        Returns:
            The trajectory; its points are inside the ball.

        Raises:
            ValueError: wrong shape or dtype, an empty batch, no key, a policy that is random,
                keeps state or couples rows; outside jit also NaN.
            ContractError: :meth:`run` returned points of another shape, or, outside jit, points
                outside the ball.

        Warns:
            ResolutionWarning: outside jit, if ε is a few units in the last place of x.
        """
        self.ball.check(x)
        check_key(key)
        x, data = lax.stop_gradient(jnp.asarray(x)), check_data(data, x)
        inspect(policy, x)
        outputs = lax.stop_gradient(in_parts(lambda part: policy(part(x)), len(x)))
        check_output(outputs, x)
        trajectory = self.run(policy, Reference(x, outputs, data), self.draw(x, key))
        check_finite("the objective", trajectory.losses)
        check_finite("the objective's gradient", trajectory.gradients)
        _check_promises(self.ball, x, trajectory)
        return trajectory


def _check_promises(ball: Ball, x: Array, trajectory: Trajectory) -> None:
    """Raise ContractError unless the trajectory has x's shape and lies in the ball."""
    points, gradients = trajectory.points, trajectory.gradients
    if not points.shape[1:] == gradients.shape[1:] == trajectory.worst.shape == x.shape:
        raise ContractError(
            f"run() returned points {points.shape}, gradients {gradients.shape} and worst "
            f"{trajectory.worst.shape} for x {x.shape}; give [K+1, *x], [K, *x] and x's own"
        )
    if is_traced(points) or is_traced(x) or is_traced(ball.epsilon):
        return
    outside = _outside(ball, jnp.concatenate([points, trajectory.worst[None]]), x)
    if not is_traced(outside) and outside:
        raise ContractError(
            f"{outside} points that run() returned left the ball; return "
            "ball.perturbed(x, ball.project(delta, x))"
        )


@jax.jit
def _outside(ball: Ball, points: Array, x: Array) -> Array:
    """Number of points of ``[K, batch, *event]`` that are not in the set around x."""
    return jnp.sum(~lax.map(lambda point: ball.holds(point, x), points))


@pytree("ball")
@dataclass(frozen=True, eq=False)
class UniformNoise(Adversary):
    """One uniform draw from the ball; the trajectory has its step in place of a gradient.

    Attributes:
        ball: the threat set.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> noise = UniformNoise(Ball("linf", 0.1))
        >>> trajectory = noise(jnp.tanh, jnp.zeros((2, 3)), jax.random.key(0))
        >>> bool(abs(trajectory.worst).max() <= 0.1)
        True
    """

    ball: Ball

    def draw(self, x: Array, key: Array) -> Array:
        """δ, ``[batch, *event]``."""
        return self.ball.sample(x, key)

    def run(self, policy: Policy, reference: Reference, draws: Array) -> Trajectory:
        """Take the draw."""
        x = reference.inputs
        worst = self.ball.perturbed(x, draws)
        return Trajectory(
            reference=reference,
            points=jnp.stack([x, worst]),
            gradients=draws[None],
            losses=jnp.zeros((1, x.shape[0]), x.dtype),
            worst=worst,
            event_dims=self.ball.budget_dims,
            forward_passes=1,
        )


def warn_if_masked(trajectory: Trajectory, epsilon: float | Array) -> None:
    """Warn with MaskedGradientWarning if all gradients of the search are known to be zero."""
    if is_traced(epsilon) or is_traced(trajectory.gradients):
        return
    if epsilon > 0 and not np.asarray(trajectory.gradients).any():
        warnings.warn(
            "the attack's gradient is zero everywhere (masked gradients): its result proves "
            "nothing. Use random_start=True for divergences, and a smooth policy without "
            "stop_gradient",
            MaskedGradientWarning,
            stacklevel=4,
        )
