"""Random directions: the cost of AAJR without the alignment."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from aajr import _shared
from aajr._checks import check_mask
from aajr._modes import Policy
from aajr.jacobian import directional_derivative
from aajr.penalties._base import JacobianPenalty, Mask, check_penalty_mask, mask_at
from aajr.penalties._running_mean import RunningMean
from aajr.trajectory import Trajectory


@_shared.documented
@dataclass(frozen=True, eq=False, kw_only=True)
class RandomDirection(_shared.RandomDirection, JacobianPenalty):
    """With the mask ``moved``, the features that the adversary changed count, sample by sample.

    Example:
        >>> import torch
        >>> from aajr import Ball, UniformNoise
        >>> g = torch.Generator().manual_seed(0)
        >>> policy = lambda x: 3 * x
        >>> trajectory = UniformNoise(Ball("l2", 0.1))(policy, torch.ones(8, 2), g)
        >>> RandomDirection(estimator="forward_mode")(policy, trajectory, g).round()
        tensor(9.)
    """

    gradient_scale: RunningMean = field(default_factory=RunningMean)
    mask: Mask = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_penalty_mask(self.mask)

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
