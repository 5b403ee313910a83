"""Adversarially-aligned Jacobian regularisation."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from aajr._checks import check_choice, check_number
from aajr._modes import Policy
from aajr.jacobian import ESTIMATORS, Estimator, directional_derivative
from aajr.penalties._base import JacobianPenalty, along
from aajr.penalties._running_mean import RunningMean
from aajr.trajectory import Trajectory


@dataclass(frozen=True, eq=False, kw_only=True)
class AAJR(JacobianPenalty):
    r"""Sensitivity only along the directions in which the adversary pushes.

    .. math:: R = \operatorname{mean}_{x,k} \|J(x + \delta_k)\, v_k\|_M^2

    v_k and δ_k are constants for θ. The write-up prints :math:`J^\top v`; with
    :math:`J = \partial\pi/\partial x` of shape outputs × inputs the quantity is :math:`J v`.

    Attributes:
        direction: v_k. ``unit`` is g_k/‖g_k‖₂; ``step`` is the direction really moved,
            projection and sign included; ``gradient`` is g_k itself, the write-up's formula,
            which weights samples by how much they can be hurt. Its penalty is divided by a
            running mean of ‖g‖² over whole batches, so that one λ means the same as with
            ``unit``; :class:`aajr.Minimax` carries that mean to the next update.
        gamma: if given, the hinge (max(0, ‖Jv‖ - γ))², zero inside the admissible class.
        estimator: of J v. ``secant`` reads the whole step and needs ``direction="step"``.
        gradient_scale: the running mean for ``gradient``.
        points: where J is taken, see :class:`JacobianPenalty`; at the ``origin`` along the last
            direction.
        fraction: share of the rows, an eighth by default.
        interval: updates of a training run between two penalties, 8 by default: the price of a
            difference on an eighth of the rows is then about 1 % of a large adversarial update.

    Example:
        >>> import torch
        >>> from aajr import Ball, ProjectedGradientAscent
        >>> g = torch.Generator().manual_seed(0)
        >>> policy = torch.nn.Linear(3, 2)
        >>> trajectory = ProjectedGradientAscent(Ball("l2", 0.1))(policy, torch.ones(8, 3), g)
        >>> AAJR()(policy, trajectory, g).shape
        torch.Size([])

    Source: Adversarially-aligned Jacobian regularization, https://arxiv.org/abs/2603.04378.
    """

    direction: Literal["unit", "step", "gradient"] = "unit"
    gamma: float | None = None
    estimator: Estimator = "forward_difference"
    gradient_scale: RunningMean = field(default_factory=RunningMean)
    fraction: float = 1 / 8
    interval: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("direction", self.direction, ("unit", "step", "gradient"))
        check_choice("estimator", self.estimator, tuple(ESTIMATORS))
        if self.points == "origin" and self.estimator == "secant":
            raise ValueError(
                "points='origin' is not where estimator='secant' steps; use 'last' or 'trajectory'"
            )
        if self.gamma is not None:
            check_number("gamma", self.gamma, exclusive=True)
        if self.estimator == "secant" and self.direction != "step":
            raise ValueError(
                f"estimator='secant' spans the step made, direction={self.direction!r} does not; "
                "use direction='step'"
            )

    def observe(self, trajectory: Trajectory) -> AAJR:
        """The penalty with the running mean of ‖g‖² updated."""
        if self.direction != "gradient":
            return self
        scale = self.gradient_scale.update(self._squared_gradients(trajectory))
        return replace(self, gradient_scale=scale)

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
        v = along(self._directions(trajectory), self.points)
        output, product = directional_derivative(
            policy, x.flatten(0, 1), v.flatten(0, 1), self.estimator
        )
        return self.metric.squared_norm(output, product).reshape(x.shape[:2])

    def _directions(self, trajectory: Trajectory) -> Tensor:
        if self.direction == "gradient":
            return trajectory.gradients
        source = trajectory.steps if self.direction == "step" else trajectory.gradients
        return trajectory.unit(source)

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
