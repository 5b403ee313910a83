"""ERNIE: adversarial Lipschitz regularisation for multi-agent learning."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aajr._checks import check_count
from aajr._modes import Policy
from aajr.geometry import Ball
from aajr.jacobian import input_gradient
from aajr.penalties._base import Penalty
from aajr.trajectory import Trajectory


@dataclass(frozen=True, eq=False, kw_only=True)
class ERNIE(Penalty):
    """max_δ √(2 D(π(x), π(x + δ))): the output's change, maximised by its own inner steps.

    With the Euclidean metric the value is ‖π(x + δ) - π(x)‖₂, the Lipschitz term of the paper.

    Attributes:
        ball: the set that the inner steps search, from a random start.
        steps: inner steps of length ε; one, as in the paper.

    Example:
        >>> import torch
        >>> from aajr import Ball, UniformNoise
        >>> g = torch.Generator().manual_seed(0)
        >>> ball, policy = Ball("l2", 0.1), lambda x: 3 * x
        >>> trajectory = UniformNoise(ball)(policy, torch.ones(8, 2), g)
        >>> ERNIE(ball=ball, steps=5)(policy, trajectory, g)
        tensor(0.3000)

    Source: Bukharin et al., Robust multi-agent RL via adversarial regularization, 2023,
    https://arxiv.org/abs/2310.10810.
    """

    ball: Ball
    steps: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("steps", self.steps)

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
