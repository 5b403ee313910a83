"""Global spectral penalty: it penalises the worst direction, even if no attack takes it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aajr import _shared
from aajr._modes import Policy
from aajr.jacobian import spectral_squared
from aajr.penalties._base import JacobianPenalty
from aajr.trajectory import Trajectory


@_shared.documented
@dataclass(frozen=True, eq=False, kw_only=True)
class Spectral(_shared.Spectral, JacobianPenalty):
    """
    Example:
        >>> import torch
        >>> from aajr import Ball, UniformNoise
        >>> g = torch.Generator().manual_seed(0)
        >>> policy = lambda x: x * torch.tensor([1.0, 2.0])
        >>> trajectory = UniformNoise(Ball("l2", 0.1))(policy, torch.ones(8, 2), g)
        >>> Spectral(iterations=20)(policy, trajectory, g).round()
        tensor(4.)
    """

    def per_sample(
        self, policy: Policy, trajectory: Trajectory, generator: torch.Generator
    ) -> Tensor:
        """‖J‖₂², averaged over the points: ``[batch]``."""
        x = self.evaluation_points(trajectory)
        values = spectral_squared(
            policy,
            x.flatten(0, 1),
            generator,
            metric=self.metric,
            iterations=self.iterations,
            mask=self.mask,
            estimator=self.estimator,
        )
        return values.reshape(x.shape[:2]).mean(0)
