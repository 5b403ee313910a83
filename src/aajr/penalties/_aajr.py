"""Adversarially-aligned Jacobian regularisation."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from aajr import _shared
from aajr._modes import Policy
from aajr._shared import along
from aajr.jacobian import directional_derivative
from aajr.penalties._base import JacobianPenalty
from aajr.penalties._running_mean import RunningMean
from aajr.trajectory import Trajectory


@_shared.documented
@dataclass(frozen=True, eq=False, kw_only=True)
class AAJR(_shared.AAJR, JacobianPenalty):
    """
    Example:
        >>> import torch
        >>> from aajr import Ball, ProjectedGradientAscent
        >>> g = torch.Generator().manual_seed(0)
        >>> policy = torch.nn.Linear(3, 2)
        >>> trajectory = ProjectedGradientAscent(Ball("l2", 0.1))(policy, torch.ones(8, 3), g)
        >>> AAJR()(policy, trajectory, g).shape
        torch.Size([])
    """

    gradient_scale: RunningMean = field(default_factory=RunningMean)

    def per_sample(
        self, policy: Policy, trajectory: Trajectory, generator: torch.Generator
    ) -> Tensor:
        """‖J v‖²_M, or its hinge, averaged over the points: ``[batch]``."""
        values = self._squared_norms(policy, trajectory)
        if self.direction == "gradient":
            values = self.gradient_scale.normalized(values)
        if self.gamma is not None:
            # the clamp keeps the square root's gradient finite where the hinge is idle
            values = (values.clamp_min(self.gamma**2).sqrt() - self.gamma).square()
        return values.mean(0)

    def _squared_norms(self, policy: Policy, trajectory: Trajectory) -> Tensor:
        if self.estimator == "secant":
            return self._secant(policy, trajectory)
        x = self.evaluation_points(trajectory)
        v = self._directions(trajectory)
        output, product = directional_derivative(
            policy, x.flatten(0, 1), v.flatten(0, 1), self.estimator
        )
        return self.metric.squared_norm(output, product).reshape(x.shape[:2])

    def _secant(self, policy: Policy, trajectory: Trajectory) -> Tensor:
        step = along(trajectory.steps, self.points)
        if trajectory.outputs is not None:
            start = along(trajectory.outputs[:-1], self.points)
            change = along(trajectory.outputs[1:], self.points) - start
            start, change = start.flatten(0, 1), change.flatten(0, 1)
        else:
            x = self.evaluation_points(trajectory).flatten(0, 1)
            start, change = directional_derivative(policy, x, step.flatten(0, 1), "secant")
        length = step.flatten(2).square().sum(2)
        squared = self.metric.squared_norm(start, change).reshape(length.shape)
        tiny = torch.finfo(length.dtype).tiny
        return torch.where(length > 0, squared / length.clamp_min(tiny), 0.0)
