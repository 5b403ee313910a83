"""Exhaustive search over the corners of an L∞ ball."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from aajr._modes import Policy
from aajr.adversaries._base import Adversary
from aajr.adversaries._evaluation import losses_of_many
from aajr.adversaries._objectives import Divergence
from aajr.adversaries._record import highest, two_points
from aajr.geometry import Ball
from aajr.trajectory import Objective, Reference, Trajectory

MOST_FEATURES = 12


@final
@dataclass(frozen=True, eq=False)
class VertexSearch(Adversary):
    """The worst of all 2^k corners of an L∞ ball of k attackable features and the clean input.

    A quasi-convex objective is greatest at a corner, and so is one that is monotone in every
    feature. Then the search is exact. All corners of the batch go through the policy at once,
    without gradients.

    Attributes:
        ball: an L∞ ball with at most 12 attackable features.
        objective: ℓ, (output, reference) to losses ``[batch]``.

    Raises:
        ValueError: another norm; when called, too many attackable features.

    Example:
        >>> objective = lambda output, reference: output.sum(1)
        >>> policy = lambda x: x * torch.tensor([1.0, -1.0])
        >>> search = VertexSearch(Ball("linf", 0.5), objective)
        >>> search(policy, torch.zeros(1, 2), torch.Generator()).worst
        tensor([[ 0.5000, -0.5000]])

    Source: Rockafellar, Convex analysis, 1970, theorem 32.2.
    """

    ball: Ball
    objective: Objective = field(default_factory=Divergence)

    def __post_init__(self) -> None:
        if self.ball.norm != "linf":
            raise ValueError(
                f"ball.norm={self.ball.norm!r} has no corners; use an linf ball or another attack"
            )

    def run(self, policy: Policy, reference: Reference, generator: torch.Generator) -> Trajectory:
        """Evaluate every corner; the gradients of the trajectory are zero."""
        x = reference.inputs
        points = torch.cat([x.unsqueeze(0), x + self._corners(x)])
        losses = losses_of_many(policy, self.objective, points, reference)
        worst = highest(points, losses)
        ends = (losses[0], losses.amax(0))
        return two_points(reference, x, worst, ends, self.ball.budget_dims, 1 + len(points))

    def _corners(self, x: Tensor) -> Tensor:
        """Every δ at a corner of the set around x, ``[2^k, batch, *event]``."""
        allowed = self.ball.attackable(x)
        features = allowed[0].numel()
        free = allowed.flatten(1).any(0).nonzero().flatten()
        if len(free) > MOST_FEATURES:
            raise ValueError(
                f"x has {len(free)} attackable features, thus 2^{len(free)} corners; the "
                f"limit is {MOST_FEATURES}. Mask features, or use ProjectedGradientAscent or Square"
            )
        reach = self.ball.epsilon * self.ball.steepest(torch.ones_like(x))
        low, high = self.ball.project(-reach, x), self.ball.project(reach, x)
        numbers = torch.arange(2 ** len(free), device=x.device).unsqueeze(1)
        bits = torch.zeros(len(numbers), features, dtype=torch.bool, device=x.device)
        bits[:, free] = (numbers >> torch.arange(len(free), device=x.device)) % 2 == 1
        return torch.where(bits.reshape(-1, 1, *x.shape[1:]), high, low)
