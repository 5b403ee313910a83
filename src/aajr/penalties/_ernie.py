"""ERNIE: adversarial Lipschitz regularisation for multi-agent learning."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aajr import _shared
from aajr._modes import Policy
from aajr.geometry import Ball
from aajr.jacobian import input_gradient
from aajr.penalties._base import Penalty
from aajr.trajectory import Trajectory


@_shared.documented
@dataclass(frozen=True, eq=False, kw_only=True)
class ERNIE(_shared.ERNIE, Penalty):
    """
    Example:
        >>> import torch
        >>> from aajr import Ball, UniformNoise
        >>> g = torch.Generator().manual_seed(0)
        >>> ball, policy = Ball("l2", 0.1), lambda x: 3 * x
        >>> trajectory = UniformNoise(ball)(policy, torch.ones(8, 2), g)
        >>> ERNIE(ball=ball, steps=5)(policy, trajectory, g)
        tensor(0.3000)
    """

    ball: Ball

    def per_sample(
        self, policy: Policy, trajectory: Trajectory, generator: torch.Generator
    ) -> Tensor:
        """The largest change found for every sample, ``[batch]``."""
        x = trajectory.origin
        delta = self.ball.sample(x, generator)
        for _ in range(self.steps):
            delta = self._ascend(policy, x, delta, trajectory.reference.outputs)
        clean, attacked = policy(torch.cat([x, x + delta])).chunk(2)
        squared = 2 * self.metric.divergence(clean, attacked)
        # the floor keeps the square root's gradient finite where the output did not move
        return squared.clamp_min(torch.finfo(squared.dtype).tiny).sqrt()

    def _ascend(self, policy: Policy, x: Tensor, delta: Tensor, clean: Tensor) -> Tensor:
        with torch.enable_grad():
            point = (x + delta).requires_grad_()
            change = self.metric.divergence(clean, policy(point))
            gradient = input_gradient(change, point, torch.ones_like(change))
        gradient = gradient * self.ball.attackable(x)
        step = self.ball.epsilon * self.ball.steepest(gradient)
        return self.ball.project_scaled(delta + step, x)
