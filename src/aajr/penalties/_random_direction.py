"""Random directions: the cost of AAJR without the alignment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from aajr._checks import check_choice
from aajr._modes import Policy
from aajr.jacobian import Estimator, directional_derivative
from aajr.penalties._base import JacobianPenalty, along
from aajr.penalties._running_mean import RunningMean
from aajr.trajectory import Trajectory


@dataclass(frozen=True, eq=False, kw_only=True)
class RandomDirection(JacobianPenalty):
    r"""‖J r‖² with r uniform on the unit sphere; :math:`\mathbb{E}\|Jr\|^2 = \|J\|_F^2/n`.

    Attributes:
        weight: ``one``, or ``gradient`` to weight samples by ‖g‖² over its running mean, which
            is the weight of AAJR's ``gradient`` without its direction.
        mask: input features r may use; all by default.
        estimator: of J r.
        gradient_scale: the running mean for ``weight="gradient"``.

    Source: the ablation of AAJR; without weights, the stochastic form of the Frobenius penalty.
    """

    weight: Literal["one", "gradient"] = "one"
    mask: Tensor | None = None
    estimator: Estimator = "forward_difference"
    gradient_scale: RunningMean = field(default_factory=RunningMean)
    fraction: float = 1 / 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("weight", self.weight, ("one", "gradient"))
        if self.weight == "gradient" and self.points == "origin":
            raise ValueError("points='origin' has no gradient to weight by; use 'last'")

    def per_sample(
        self, policy: Policy, trajectory: Trajectory, generator: torch.Generator
    ) -> Tensor:
        """‖J r‖²_M, weighted, averaged over the points: ``[batch]``."""
        x = self.evaluation_points(trajectory)
        r = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        r = trajectory.unit(r if self.mask is None else r * self.mask.to(r))
        output, product = directional_derivative(
            policy, x.flatten(0, 1), r.flatten(0, 1), self.estimator
        )
        values = self.metric.squared_norm(output, product).reshape(x.shape[:2])
        if self.weight == "gradient":
            size = along(trajectory.gradients, self.points).flatten(2).square().sum(2)
            scale = max(self.gradient_scale.update(size), torch.finfo(size.dtype).tiny)
            values = values * size / scale
        return values.mean(0)
