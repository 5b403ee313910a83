"""The base of every penalty: draws from a key, and sub-sampling that keeps the mean unbiased."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import final

import jax
import jax.numpy as jnp
from jax import Array, lax

from aajr import _shared
from aajr._errors import ContractError
from aajr.jax._checks import check_key, is_traced
from aajr.jax._functions import Policy, draw_rows, wide
from aajr.jax._inspection import inspect
from aajr.jax._metrics import Euclidean, Metric
from aajr.jax._trajectory import Trajectory, check_trajectory


@_shared.documented
@dataclass(frozen=True, eq=False, kw_only=True)
class Penalty(_shared.Penalty):
    """A subclass writes :meth:`per_sample`, and :meth:`draw` if it needs random numbers.

    Every penalty is a pytree and its call a pure function: a penalty stores what it remembers in
    its fields, and :meth:`observe` returns a new penalty.
    """

    metric: Metric = field(default_factory=Euclidean)

    def __post_init__(self) -> None:
        if not isinstance(self.metric, Metric):
            raise ValueError(
                f"metric={self.metric!r} is no Metric; give for instance aajr.jax.Euclidean()"
            )
        super().__post_init__()

    def draw(self, trajectory: Trajectory, key: Array) -> Array | None:
        """All random numbers of :meth:`per_sample`; none by default."""
        return None

    @abstractmethod
    def per_sample(self, policy: Policy, trajectory: Trajectory, draws: Array | None) -> Array:
        """The sensitivity of every sample, ``[batch]``, differentiable in the parameters."""

    @final
    def __call__(
        self,
        policy: Policy,
        trajectory: Trajectory,
        key: Array,
        update: int | Array | None = None,
    ) -> Array:
        """Mean penalty, a scalar.

        Args:
            policy: map from ``[batch, *event]`` to ``[batch, *output]``, independent between rows;
                a network with dropout or batch statistics in its inference mode.
            trajectory: what the adversary did.
            key: source of all randomness.
            update: number of the update in a training run; None measures without the interval.

        Returns:
            An unbiased estimate of the mean over the batch. In a training run it is multiplied by
            the interval at every interval-th update, and zero at the other updates.

        Raises:
            ValueError: no key, a mask that does not fit, a policy that is random, keeps state or
                couples rows.
        """
        check_trajectory(trajectory)
        dtype = jnp.promote_types(trajectory.points.dtype, jnp.float32)

        def act() -> Array:
            times = 1 if update is None else self.interval
            return (times * self.values(policy, trajectory, key).mean()).astype(dtype)

        def rest() -> Array:
            return jnp.zeros((), dtype)

        if update is None or self.interval == 1:
            return act()
        if not is_traced(update):
            return rest() if update % self.interval else act()
        return lax.cond(update % self.interval == 0, act, rest)

    @final
    def values(self, policy: Policy, trajectory: Trajectory, key: Array) -> Array:
        """The sensitivities of the drawn rows, ``[rows]``, for any update.

        Arguments and errors are those of the call.
        """
        check_key(key)
        check_trajectory(trajectory)
        inspect(policy, trajectory.origin)
        observed = self.observe(trajectory)
        for_rows, for_draws = jax.random.split(key)
        if self.fraction < 1:
            batch = trajectory.origin.shape[0]
            trajectory = trajectory.rows(draw_rows(for_rows, batch, self.fraction))
        return observed.per_sample(policy, trajectory, observed.draw(trajectory, for_draws))


@_shared.documented
@dataclass(frozen=True, eq=False, kw_only=True)
class JacobianPenalty(_shared.JacobianPenalty, Penalty):
    """A subclass writes :meth:`per_sample`."""

    def _squared_gradients(self, trajectory: Trajectory) -> Array:
        gradients = wide(_shared.along(trajectory.gradients, self.points))
        return jnp.square(gradients).sum(tuple(range(2, gradients.ndim)))


def required_draws(draws: Array | None) -> Array:
    """The draws; ContractError if there are none."""
    if draws is None:
        raise ContractError("draw() of this penalty returned None; it must return an array")
    return draws
