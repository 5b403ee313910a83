"""SA and SR²L: the divergence at the worst point."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aajr._modes import Policy
from aajr.penalties._base import Penalty
from aajr.trajectory import Trajectory


@dataclass(frozen=True, eq=False, kw_only=True)
class StateAdversarial(Penalty):
    """D(π(x), π(x + δ*)), or the symmetric D(π(x), π(x + δ*)) + D(π(x + δ*), π(x)).

    The first is the regulariser of SA-MDP, the second that of SR²L for stochastic policies.

    Attributes:
        symmetric: add the reverse divergence.

    Example:
        >>> import torch
        >>> from aajr import Ball, ProjectedGradientAscent
        >>> g = torch.Generator().manual_seed(0)
        >>> policy = lambda x: 3 * x
        >>> attack = ProjectedGradientAscent(Ball("l2", 0.2), steps=20)
        >>> trajectory = attack(policy, torch.ones(8, 2), g)
        >>> StateAdversarial()(policy, trajectory, g)  # (3 · 0.2)² / 2
        tensor(0.1800)

    Source: Zhang et al., 2020, https://arxiv.org/abs/2003.08938; Shen et al., Deep RL with robust
    and smooth policy, 2020, https://arxiv.org/abs/2003.09534.
    """

    symmetric: bool = False

    def per_sample(
        self, policy: Policy, trajectory: Trajectory, generator: torch.Generator
    ) -> Tensor:
        """The divergence of every sample, ``[batch]``."""
        clean, attacked = policy(torch.cat([trajectory.origin, trajectory.worst])).chunk(2)
        value = self.metric.divergence(clean, attacked)
        return value + self.metric.divergence(attacked, clean) if self.symmetric else value
