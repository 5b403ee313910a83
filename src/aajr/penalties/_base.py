"""The base of all penalties: sub-sampling that keeps the mean unbiased."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import Literal, final

import torch
from torch import Tensor

from aajr import _shared
from aajr._checks import check_choice, check_generator
from aajr._inspection import inspect
from aajr._modes import Policy, evaluating
from aajr.geometry import Euclidean, Metric
from aajr.jacobian import full_precision
from aajr.trajectory import Trajectory


@_shared.documented
@dataclass(frozen=True, eq=False, kw_only=True)
class Penalty(_shared.Penalty):
    """A subclass defines :meth:`per_sample`, which is called with the policy in evaluation mode."""

    metric: Metric = field(default_factory=Euclidean)

    def __post_init__(self) -> None:
        if not isinstance(self.metric, Metric):
            raise ValueError(
                f"metric={self.metric!r} is no Metric; give for instance aajr.Euclidean()"
            )
        super().__post_init__()

    @abstractmethod
    def per_sample(
        self, policy: Policy, trajectory: Trajectory, generator: torch.Generator
    ) -> Tensor:
        """The sensitivity of every sample, ``[batch]``, differentiable in the parameters."""

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
            update: number of the update in a training run; None to measure, whatever the interval.

        Returns:
            An unbiased estimate of the mean over the batch. In a training run it is multiplied by
            the interval at every interval-th update and zero at all others.

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
        """The sensitivities of the drawn rows, ``[rows]``; empty between intervals.

        Arguments and errors are those of :meth:`__call__`.
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
            trajectory = replace(trajectory, outputs=None)  # the outputs have half precision
        with evaluating(policy), full_precision(trajectory.origin):
            return observed.per_sample(policy, trajectory, generator)

    @final
    def reduce(self, values: Tensor, update: int | None = None) -> Tensor:
        """Mean over the drawn rows, in training times the interval; zero if there are no rows."""
        if not len(values):
            return values.new_zeros(())
        return values.mean() if update is None else self.interval * values.mean()


@_shared.documented
@dataclass(frozen=True, eq=False, kw_only=True)
class JacobianPenalty(_shared.JacobianPenalty, Penalty):
    """A subclass defines :meth:`per_sample`."""

    def _squared_gradients(self, trajectory: Trajectory) -> Tensor:
        return _shared.along(trajectory.gradients, self.points).flatten(2).square().sum(2)


Mask = Tensor | Literal["moved"] | None
"""The input features that count: a boolean tensor, ``moved`` for those that δ changed, or None."""


def check_penalty_mask(mask: Mask) -> None:
    """Raise ValueError for a string other than ``moved``."""
    if isinstance(mask, str):
        check_choice("mask", mask, ("moved",))


def mask_at(mask: Mask, trajectory: Trajectory, points: Tensor) -> Tensor | None:
    """The mask for ``points`` ``[points, batch, *event]`` with the first two dims flattened."""
    if not isinstance(mask, str):
        return mask
    return trajectory.moved.repeat(len(points), *[1] * (points.ndim - 2))
