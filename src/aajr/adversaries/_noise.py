"""Uniform noise: the baseline of every attack."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from aajr._modes import Policy
from aajr.adversaries._base import Adversary
from aajr.geometry import Ball
from aajr.trajectory import Reference, Trajectory


@dataclass(frozen=True, eq=False)
class UniformNoise(Adversary):
    """One uniform draw from the ball; the trajectory has its step in place of a gradient.

    Attributes:
        ball: the threat set.

    Example:
        >>> import torch
        >>> g = torch.Generator().manual_seed(0)
        >>> trajectory = UniformNoise(Ball("linf", 0.1))(torch.tanh, torch.zeros(2, 3), g)
        >>> bool(trajectory.worst.abs().max() <= 0.1)
        True
    """

    ball: Ball

    def run(self, policy: Policy, reference: Reference, generator: torch.Generator) -> Trajectory:
        """Draw once."""
        x = reference.inputs
        delta = self.ball.sample(x, generator)
        return Trajectory(
            reference=reference,
            points=torch.stack([x, x + delta]),
            gradients=delta.unsqueeze(0),
            losses=torch.zeros(1, x.shape[0], dtype=x.dtype, device=x.device),
            worst=x + delta,
            event_dims=self.ball.budget_dims,
            forward_passes=1,
        )
