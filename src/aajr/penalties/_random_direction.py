"""Random directions: the cost of AAJR without the alignment."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from aajr._checks import check_choice, check_mask
from aajr._modes import Policy
from aajr.jacobian import ESTIMATORS, Estimator, directional_derivative
from aajr.penalties._base import JacobianPenalty, Mask, check_penalty_mask, mask_at
from aajr.penalties._running_mean import RunningMean
from aajr.trajectory import Trajectory


@dataclass(frozen=True, eq=False, kw_only=True)
class RandomDirection(JacobianPenalty):
    r"""‖J r‖² with r uniform on the unit sphere; :math:`\mathbb{E}\|Jr\|^2 = \|J\|_F^2/n`.

    With n features allowed by the mask. Where every agent has a budget of its own, r is a unit
    vector for each, as v is in AAJR, and n counts one agent's features.

    Attributes:
        weight: ``one``, or ``gradient`` to weight samples by ‖g‖² over its running mean, which
            is the weight of AAJR's ``gradient`` without its direction.
        mask: True for input features r may use, broadcastable to the event; all by default.
            ``moved`` are, sample by sample, the features that the adversary changed.
        estimator: of J r.
        gradient_scale: the running mean for ``weight="gradient"``.
        fraction: share of the rows, an eighth by default, as in AAJR.
        interval: updates between two penalties, 8 by default, as in AAJR.

    Example:
        >>> import torch
        >>> from aajr import Ball, UniformNoise
        >>> g = torch.Generator().manual_seed(0)
        >>> policy = lambda x: 3 * x
        >>> trajectory = UniformNoise(Ball("l2", 0.1))(policy, torch.ones(8, 2), g)
        >>> RandomDirection(estimator="forward_mode")(policy, trajectory, g).round()
        tensor(9.)

    Source: the ablation of AAJR; without weights, the stochastic form of the Frobenius penalty.
    """

    weight: Literal["one", "gradient"] = "one"
    mask: Mask = None
    estimator: Estimator = "forward_difference"
    gradient_scale: RunningMean = field(default_factory=RunningMean)
    fraction: float = 1 / 8
    interval: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_penalty_mask(self.mask)
        check_choice("weight", self.weight, ("one", "gradient"))
        check_choice("estimator", self.estimator, tuple(ESTIMATORS))
        if self.weight == "gradient" and self.points == "origin":
            raise ValueError("points='origin' has no gradient to weight by; use 'last'")

    def observe(self, trajectory: Trajectory) -> RandomDirection:
        """The penalty with the running mean of ‖g‖² updated."""
        if self.weight != "gradient":
            return self
        scale = self.gradient_scale.update(self._squared_gradients(trajectory))
        return replace(self, gradient_scale=scale)

    def per_sample(
        self, policy: Policy, trajectory: Trajectory, generator: torch.Generator
    ) -> Tensor:
        """‖J r‖²_M, weighted, averaged over the points: ``[batch]``."""
        x = self.evaluation_points(trajectory)
        mask = mask_at(self.mask, trajectory, x[:1])
        check_mask("mask", mask, trajectory.origin)
        r = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        r = trajectory.unit(r if mask is None else r * mask.to(r))
        output, product = directional_derivative(
            policy, x.flatten(0, 1), r.flatten(0, 1), self.estimator
        )
        values = self.metric.squared_norm(output, product).reshape(x.shape[:2])
        if self.weight == "gradient":
            values = values * self.gradient_scale.normalized(self._squared_gradients(trajectory))
        return values.mean(0)
