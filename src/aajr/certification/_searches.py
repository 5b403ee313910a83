"""Attacks without gradients: they find what masked gradients hide."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from aajr._checks import check_count
from aajr._modes import Policy
from aajr.adversaries import Adversary, Divergence
from aajr.geometry import Ball
from aajr.trajectory import Objective, Reference, Trajectory


@dataclass(frozen=True, eq=False)
class Search(Adversary):
    """Proposes a point per query and keeps, per sample, the one of highest loss.

    Attributes:
        ball: the threat set.
        objective: ℓ, (output, reference) to losses ``[batch]``.
        queries: evaluations of the policy.
    """

    ball: Ball
    objective: Objective = field(default_factory=Divergence)
    queries: int = 200

    def __post_init__(self) -> None:
        check_count("queries", self.queries)

    @abstractmethod
    def propose(self, best: Tensor, x: Tensor, query: int, generator: torch.Generator) -> Tensor:
        """The next δ in the set around x, given the best so far; both ``[batch, *event]``."""

    @torch.no_grad()
    def run(self, policy: Policy, reference: Reference, generator: torch.Generator) -> Trajectory:
        """Spend the queries; the gradients of the trajectory are zero."""
        x = reference.inputs
        best = first = self.propose(torch.zeros_like(x), x, 0, generator)
        highest = start = self._loss(policy, x + first, reference)
        for query in range(1, self.queries):
            delta = self.propose(best, x, query, generator)
            loss = self._loss(policy, x + delta, reference)
            better = loss > highest
            best = torch.where(better.reshape(-1, *[1] * (x.ndim - 1)), delta, best)
            highest = torch.where(better, loss, highest)
        return Trajectory(
            reference=reference,
            points=torch.stack([x + first, x + best]),
            gradients=torch.zeros_like(x).unsqueeze(0),
            losses=torch.stack([start, highest]),
            worst=x + best,
            event_dims=self.ball.budget_dims,
            forward_passes=1 + self.queries,
        )

    def _loss(self, policy: Policy, point: Tensor, reference: Reference) -> Tensor:
        loss = self.objective(policy(point), reference)
        if loss.shape != point.shape[:1] or not torch.isfinite(loss).all():
            raise ValueError(
                f"the objective returned {tuple(loss.shape)} with NaN or infinite values, or not "
                f"one loss per sample, shape ({len(point)},); check it at x + δ"
            )
        return loss


@dataclass(frozen=True, eq=False)
class RandomDraws(Search):
    """The worst of many uniform draws from the ball.

    Example:
        >>> ball, g = Ball("linf", 0.1), torch.Generator().manual_seed(0)
        >>> trajectory = RandomDraws(ball, queries=50)(torch.tanh, torch.zeros(2, 3), g)
        >>> trajectory.forward_passes
        51
    """

    def propose(self, best: Tensor, x: Tensor, query: int, generator: torch.Generator) -> Tensor:
        """A uniform draw."""
        return self.ball.sample(x, generator)


@dataclass(frozen=True, eq=False)
class BlackBoxSearch(Search):
    """Random search on the ball's surface: redraw some coordinates, keep what is worse.

    On linf balls the points are corners and coordinates flip their sign; on l2 balls they lie on
    the sphere. The share of coordinates redrawn falls from one half towards one coordinate, as
    in the Square attack, without its squares: the features of a state have no neighbours.

    Example:
        >>> ball, g = Ball("linf", 0.5), torch.Generator().manual_seed(0)
        >>> objective = lambda output, reference: output.sum(1)
        >>> search = BlackBoxSearch(ball, objective, queries=60)
        >>> search(torch.tanh, torch.zeros(1, 3), g).worst
        tensor([[0.5000, 0.5000, 0.5000]])

    Source: Andriushchenko et al., Square attack, 2020, https://arxiv.org/abs/1912.00049.
    """

    def propose(self, best: Tensor, x: Tensor, query: int, generator: torch.Generator) -> Tensor:
        """A point of the surface that shares coordinates with the best so far."""
        noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        fresh = self.ball.steepest(noise * self.ball.attackable(x)) * self.ball.epsilon
        if query == 0:
            return self.ball.project(fresh, x)
        uniform = torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        features = self.ball.attackable(x).flatten(1).sum(1).reshape(-1, *[1] * (x.ndim - 1))
        share = (1 / features).clamp_min(0.5 * (1 - query / self.queries) ** 2)
        mixed = torch.where(uniform < share, fresh, best)
        size = self.ball.size(mixed)[(...,) + (None,) * self.ball.budget_dims]
        surface = mixed * torch.where(size > 0, self.ball.epsilon / size, size)
        return self.ball.project(surface, x)
