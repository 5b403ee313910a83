"""SA and SR²L: the divergence at the worst point."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aajr import _shared
from aajr._modes import Policy
from aajr.penalties._base import Penalty
from aajr.trajectory import Trajectory


@_shared.documented
@dataclass(frozen=True, eq=False, kw_only=True)
class StateAdversarial(_shared.StateAdversarial, Penalty):
    """
    Example:
        >>> import torch
        >>> from aajr import Ball, ProjectedGradientAscent
        >>> g = torch.Generator().manual_seed(0)
        >>> policy = lambda x: 3 * x
        >>> attack = ProjectedGradientAscent(Ball("l2", 0.2), steps=20)
        >>> trajectory = attack(policy, torch.ones(8, 2), g)
        >>> StateAdversarial()(policy, trajectory, g)  # (3 · 0.2)² / 2
        tensor(0.1800)
    """

    def per_sample(
        self, policy: Policy, trajectory: Trajectory, generator: torch.Generator
    ) -> Tensor:
        """The divergence of every sample, ``[batch]``."""
        clean, attacked = policy(torch.cat([trajectory.origin, trajectory.worst])).chunk(2)
        value = self.metric.divergence(clean, attacked)
        return value + self.metric.divergence(attacked, clean) if self.symmetric else value
