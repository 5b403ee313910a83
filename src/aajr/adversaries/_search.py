"""Black-box search: propose a point, keep it if it is worse for the policy."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from aajr._checks import check_count
from aajr._modes import Policy
from aajr.adversaries._base import Adversary
from aajr.adversaries._evaluation import loss_at, over_budgets, over_rows
from aajr.adversaries._objectives import Divergence
from aajr.geometry import Ball
from aajr.trajectory import Objective, Reference, Trajectory


@dataclass(frozen=True, eq=False)
class Search(Adversary):
    """Proposes a point per query and keeps, per sample, the one of highest loss.

    What is proposed depends on the number of queries so far, never on their total: a longer
    search begins with the shorter one and cannot find less.

    Attributes:
        ball: the threat set.
        objective: ℓ, (output, reference) to losses ``[batch]``.
        queries: evaluations of the policy at perturbed points.
    """

    ball: Ball
    objective: Objective = field(default_factory=Divergence)
    queries: int = 200

    def __post_init__(self) -> None:
        check_count("queries", self.queries)

    @abstractmethod
    def propose(self, best: Tensor, x: Tensor, query: int, generator: torch.Generator) -> Tensor:
        """The next δ in the set around x, given the best so far; both ``[batch, *event]``."""

    def run(self, policy: Policy, reference: Reference, generator: torch.Generator) -> Trajectory:
        """Spend the queries; the gradients of the trajectory are zero."""
        x = reference.inputs
        best = first = self.propose(torch.zeros_like(x), x, 0, generator)
        found = start = loss_at(policy, self.objective, x + first, reference)
        for query in range(1, self.queries):
            delta = self.propose(best, x, query, generator)
            loss = loss_at(policy, self.objective, x + delta, reference)
            best = torch.where(over_rows(loss > found, x), delta, best)
            found = torch.maximum(loss, found)
        return Trajectory(
            reference=reference,
            points=torch.stack([x + first, x + best]),
            gradients=torch.zeros_like(x).unsqueeze(0),
            losses=torch.stack([start, found]),
            worst=x + best,
            event_dims=self.ball.budget_dims,
            forward_passes=1 + self.queries,
        )


@dataclass(frozen=True, eq=False)
class RandomSearch(Search):
    """The worst of many uniform draws from the ball.

    Attributes:
        ball: the threat set.
        objective: ℓ, (output, reference) to losses ``[batch]``.
        queries: draws.

    Example:
        >>> ball, g = Ball("linf", 0.1), torch.Generator().manual_seed(0)
        >>> RandomSearch(ball, queries=50)(torch.tanh, torch.zeros(2, 3), g).forward_passes
        51

    Source: Rastrigin, The convergence of the random search method, 1963.
    """

    def propose(self, best: Tensor, x: Tensor, query: int, generator: torch.Generator) -> Tensor:
        """A uniform draw."""
        return self.ball.sample(x, generator)


@dataclass(frozen=True, eq=False)
class Square(Search):
    """The Square attack on vectors: redraw a random block of features on the ball's surface.

    On linf every feature of the block moves to a corner, ±ε s. On l2 the block takes a random
    direction and all of ε that the other features leave. The block holds half of the
    attackable features at first and halves after 10, 50, 200, 500, 1000, 2000, 4000, 6000 and
    8000 queries, down to one feature (two on l2). The features of a state have no
    neighbours, so a block is any subset, with a sign for each feature.

    Attributes:
        ball: the threat set.
        objective: ℓ, (output, reference) to losses ``[batch]``.
        queries: evaluations of the policy.

    Example:
        >>> ball, g = Ball("linf", 0.5), torch.Generator().manual_seed(0)
        >>> objective = lambda output, reference: output.sum(1)
        >>> Square(ball, objective, queries=60)(torch.tanh, torch.zeros(1, 3), g).worst
        tensor([[0.5000, 0.5000, 0.5000]])

    Source: Andriushchenko et al., Square attack, 2020, https://arxiv.org/abs/1912.00049.
    """

    def propose(self, best: Tensor, x: Tensor, query: int, generator: torch.Generator) -> Tensor:
        """The best so far with one block redrawn; the first proposal is all new."""
        allowed = self.ball.attackable(x)
        noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        uniform = torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        block = allowed
        if query > 0:
            least = 1 if self.ball.norm == "linf" else 2
            block = _block(uniform, allowed, 0.5 ** (1 + _halvings(query)), least)
        kept = best * (1 - block)
        fresh = self.ball.steepest(noise * block)
        if self.ball.norm == "linf":
            return self.ball.project(kept + self.ball.epsilon * fresh, x)
        used = over_budgets(self.ball.size(kept), self.ball.budget_dims)
        room = (self.ball.epsilon**2 - used**2).clamp_min(0).sqrt()
        return self.ball.project(kept + room * fresh, x)


_CHECKPOINTS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


def _halvings(query: int) -> int:
    return sum(query > checkpoint for checkpoint in _CHECKPOINTS)


def _block(uniform: Tensor, allowed: Tensor, share: float, least: int) -> Tensor:
    """1 on a random share of each row's attackable features, at least ``least`` of them."""
    flat = allowed.flatten(1)
    size = (share * flat.sum(1, keepdim=True)).ceil().clamp_min(least)
    order = (uniform.flatten(1) + 2 * (1 - flat)).argsort(dim=1, stable=True)
    rank = order.argsort(dim=1, stable=True)
    return ((rank < size) * flat).reshape(allowed.shape)
