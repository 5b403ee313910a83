"""What every penalty shares: draws made from a key, sub-sampling that keeps the mean unbiased."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Literal, final

import jax
import jax.numpy as jnp
from jax import Array, lax

from aajr._errors import ContractError
from aajr.jax._checks import check_choice, check_count, check_key, check_number, is_traced
from aajr.jax._functions import Policy, draw_rows, wide
from aajr.jax._inspection import inspect
from aajr.jax._metrics import Euclidean, Metric
from aajr.jax._trajectory import Trajectory, check_trajectory

Points = Literal["origin", "last", "trajectory"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Penalty(ABC):
    """A mean over samples of a sensitivity, estimated on part of the batch and of the updates.

    A subclass writes :meth:`per_sample`, and :meth:`draw` if it needs random numbers. Weights λ
    belong to the composition, not to the penalty. Every penalty is a pytree and its call a pure
    function: what a penalty remembers is a part of it, and :meth:`observe` returns a new one.

    Attributes:
        metric: geometry of the output.
        fraction: share of the batch's rows, drawn without replacement; the mean stays unbiased.
        interval: in training, acts at every so many updates, multiplied by it, so that the sum
            over updates stays unbiased.
    """

    metric: Metric = field(default_factory=Euclidean)
    fraction: float = 1.0
    interval: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.metric, Metric):
            raise ValueError(
                f"metric={self.metric!r} is no Metric; give for instance aajr.jax.Euclidean()"
            )
        check_number("fraction", self.fraction, exclusive=True, maximum=1.0)
        check_count("interval", self.interval)

    def draw(self, trajectory: Trajectory, key: Array) -> Array | None:
        """All random numbers of :meth:`per_sample`; none by default."""
        return None

    @abstractmethod
    def per_sample(self, policy: Policy, trajectory: Trajectory, draws: Array | None) -> Array:
        """The sensitivity of every sample, ``[batch]``, differentiable in the parameters."""

    def observe(self, trajectory: Trajectory) -> Penalty:
        """The penalty after taking in statistics of a whole batch; itself by default."""
        return self

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
            update: number of the update in a training run; None measures, whatever the interval.

        Returns:
            An unbiased estimate of the mean over the batch; in a training run the interval times
            it at every interval-th update, and zero between.

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
        """The sensitivities of the rows drawn, ``[rows]``, whatever the update.

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


@dataclass(frozen=True, eq=False, kw_only=True)
class JacobianPenalty(Penalty):
    """A penalty on the Jacobian at points of the trajectory.

    Attributes:
        points: the clean input, the last point at which the adversary chose a direction, or the
            mean over all such points.
    """

    points: Points = "last"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("points", self.points, ("origin", "last", "trajectory"))

    def evaluation_points(self, trajectory: Trajectory) -> Array:
        """Where to take the Jacobian, ``[points, batch, *event]``."""
        if self.points == "origin":
            return trajectory.origin[None]
        return along(trajectory.points[:-1], self.points)

    def _squared_gradients(self, trajectory: Trajectory) -> Array:
        """‖g_k‖² at the evaluation points, ``[points, batch]``."""
        gradients = wide(along(trajectory.gradients, self.points))
        return jnp.square(gradients).sum(tuple(range(2, gradients.ndim)))


def along(value: Array, points: Points) -> Array:
    """The entries of ``value`` ``[K, batch, ...]`` that belong to the evaluation points."""
    return value if points == "trajectory" else value[-1:]


def given(draws: Array | None) -> Array:
    """The draws of a penalty that has some."""
    if draws is None:
        raise ContractError("draw() of this penalty returned None; it must return an array")
    return draws
