"""What every penalty shares: sub-sampling that keeps the mean unbiased."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Literal, final

import torch
from torch import Tensor

from aajr._checks import check_choice, check_count, check_generator, check_number
from aajr._inspection import inspect
from aajr._modes import Policy, evaluating
from aajr.geometry import Euclidean, Metric
from aajr.jacobian import full_precision
from aajr.trajectory import Trajectory

Points = Literal["origin", "last", "trajectory"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Penalty(ABC):
    """A mean over samples of a sensitivity, estimated on part of the batch and of the updates.

    A subclass writes :meth:`per_sample`; the policy is in evaluation mode then. Weights λ belong
    to the composition, not to the penalty.

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
                f"metric={self.metric!r} is no Metric; give for instance aajr.Euclidean()"
            )
        check_number("fraction", self.fraction, exclusive=True, maximum=1.0)
        check_count("interval", self.interval)

    @abstractmethod
    def per_sample(
        self, policy: Policy, trajectory: Trajectory, generator: torch.Generator
    ) -> Tensor:
        """The sensitivity of every sample, ``[batch]``, differentiable in the parameters."""

    def observe(self, trajectory: Trajectory) -> Penalty:
        """The penalty after it saw the whole batch, before rows are drawn; by default as it is."""
        return self

    @final
    def __call__(
        self,
        policy: Policy,
        trajectory: Trajectory,
        generator: torch.Generator,
        update: int | None = None,
    ) -> Tensor:
        """Mean penalty, a scalar.

        Args:
            policy: map from ``[batch, *event]`` to ``[batch, *output]``, independent between rows.
            trajectory: what the adversary did.
            generator: source of all randomness, on the policy's device.
            update: number of the update in a training run; None measures, whatever the interval.

        Returns:
            An unbiased estimate of the mean over the batch; in a training run the interval times
            it at every interval-th update, and zero between.

        Raises:
            ValueError: a generator on another device, a mask that does not fit, a policy that
                draws noise or keeps state.
        """
        return self.reduce(self.values(policy, trajectory, generator, update), update)

    @final
    def values(
        self,
        policy: Policy,
        trajectory: Trajectory,
        generator: torch.Generator,
        update: int | None = None,
    ) -> Tensor:
        """The sensitivities of the rows drawn, ``[rows]``; none between intervals.

        Arguments and errors are those of the call.
        """
        check_generator(generator, trajectory.origin)
        if update is not None and update % self.interval:
            return trajectory.origin.new_zeros(0)
        inspect(policy, trajectory.origin)
        observed = self.observe(trajectory)
        batch = trajectory.origin.shape[0]
        if self.fraction < 1:
            count = max(1, round(self.fraction * batch))
            order = torch.randperm(batch, generator=generator, device=generator.device)
            trajectory = trajectory.rows(order[:count].to(trajectory.origin.device))
        if torch.is_autocast_enabled(trajectory.origin.device.type):
            trajectory = replace(trajectory, outputs=None)  # they have half precision
        with evaluating(policy), full_precision(trajectory.origin):
            return observed.per_sample(policy, trajectory, generator)

    @final
    def reduce(self, values: Tensor, update: int | None = None) -> Tensor:
        """Mean of the rows drawn, in training times the interval; zero if there are none."""
        if not len(values):
            return values.new_zeros(())
        return values.mean() if update is None else self.interval * values.mean()


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

    def evaluation_points(self, trajectory: Trajectory) -> Tensor:
        """Where to take the Jacobian, ``[points, batch, *event]``."""
        if self.points == "origin":
            return trajectory.origin.unsqueeze(0)
        return along(trajectory.points[:-1], self.points)

    def _squared_gradients(self, trajectory: Trajectory) -> Tensor:
        """‖g_k‖² at the evaluation points, ``[points, batch]``."""
        return along(trajectory.gradients, self.points).flatten(2).square().sum(2)


Mask = Tensor | Literal["moved"] | None
"""Which input features count: True in a tensor, those that the adversary moved, or all for None."""


def check_penalty_mask(mask: Mask) -> None:
    """Raise ValueError for a word other than ``moved``."""
    if isinstance(mask, str):
        check_choice("mask", mask, ("moved",))


def mask_at(mask: Mask, trajectory: Trajectory, points: Tensor) -> Tensor | None:
    """The mask of the rows of ``points`` ``[points, batch, *event]``, all of them after another."""
    if not isinstance(mask, str):
        return mask
    return trajectory.moved.repeat(len(points), *[1] * (points.ndim - 2))


def along(value: Tensor, points: Points) -> Tensor:
    """The entries of ``value`` ``[K, batch, ...]`` that belong to the evaluation points."""
    return value if points == "trajectory" else value[-1:]
