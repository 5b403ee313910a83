"""Global Frobenius penalty: it penalises sensitivity in all directions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aajr import _shared
from aajr._modes import Policy
from aajr.jacobian import frobenius_squared
from aajr.penalties._base import JacobianPenalty, Mask, check_penalty_mask, mask_at
from aajr.trajectory import Trajectory


@_shared.documented
@dataclass(frozen=True, eq=False, kw_only=True)
class Frobenius(_shared.Frobenius, JacobianPenalty):
    """With the mask ``moved``, the features that the adversary changed count, sample by sample.

    Example:
        >>> import torch
        >>> from aajr import Ball, UniformNoise
        >>> g = torch.Generator().manual_seed(0)
        >>> policy = lambda x: x * torch.tensor([1.0, 2.0])
        >>> trajectory = UniformNoise(Ball("l2", 0.1))(policy, torch.ones(8, 2), g)
        >>> Frobenius(projections=500)(policy, trajectory, g).round()
        tensor(5.)
    """

    mask: Mask = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_penalty_mask(self.mask)

    def per_sample(
        self, policy: Policy, trajectory: Trajectory, generator: torch.Generator
    ) -> Tensor:
        """‖J‖²_F, averaged over the points: ``[batch]``."""
        x = self.evaluation_points(trajectory)
        values = frobenius_squared(
            policy,
            x.flatten(0, 1),
            generator,
            metric=self.metric,
            projections=self.projections,
            mask=mask_at(self.mask, trajectory, x),
        )
        return values.reshape(x.shape[:2]).mean(0)
