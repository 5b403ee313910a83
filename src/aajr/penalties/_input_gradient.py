"""Input-gradient penalty: it penalises the slope of the loss instead of that of the policy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aajr import _shared
from aajr._modes import Policy
from aajr.jacobian import input_gradient
from aajr.penalties._base import JacobianPenalty
from aajr.trajectory import Objective, Trajectory


@_shared.documented
@dataclass(frozen=True, eq=False, kw_only=True)
class InputGradient(_shared.InputGradient, JacobianPenalty):
    """
    Example:
        >>> import torch
        >>> from aajr import Ball, UniformNoise
        >>> g = torch.Generator().manual_seed(0)
        >>> policy = lambda x: 3 * x
        >>> trajectory = UniformNoise(Ball("l2", 0.1))(policy, torch.ones(8, 2), g)
        >>> InputGradient(objective=lambda output, reference: output.sum(1))(policy, trajectory, g)
        tensor(18.)
    """

    objective: Objective

    def per_sample(
        self, policy: Policy, trajectory: Trajectory, generator: torch.Generator
    ) -> Tensor:
        """Squared norm of the loss's gradient, averaged over the points: ``[batch]``."""
        values = [self._at(policy, x, trajectory) for x in self.evaluation_points(trajectory)]
        return torch.stack(values).mean(0)

    def _at(self, policy: Policy, x: Tensor, trajectory: Trajectory) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            loss = self.objective(policy(x), trajectory.reference)
            gradient = input_gradient(loss, x, torch.ones_like(loss), create_graph=True)
        return gradient.flatten(1).square().sum(1)
