"""Black-box search: propose a point, keep it if it is worse for the policy."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from aajr._checks import check_count
from aajr._modes import Policy
from aajr.adversaries._base import Adversary
from aajr.adversaries._evaluation import loss_at, over_budgets
from aajr.adversaries._objectives import Divergence
from aajr.geometry import Ball
from aajr.geometry._around import Around, AroundBox
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
        until: loss above which a row is finished and asked no more; None to spend all queries.
            0 suits objectives that are positive where the attack has succeeded, such as
            :class:`aajr.Margin`.
    """

    ball: Ball
    objective: Objective = field(default_factory=Divergence)
    queries: int = 200
    until: float | None = None

    def __post_init__(self) -> None:
        check_count("queries", self.queries)

    @abstractmethod
    def propose(
        self, best: Tensor, around: Around, query: int, generator: torch.Generator
    ) -> Tensor:
        """The next δ in the set around x, given the best so far; both ``[batch, *event]``."""

    @torch.no_grad()
    def run(self, policy: Policy, reference: Reference, generator: torch.Generator) -> Trajectory:
        """Spend the queries; the gradients of the trajectory are zero."""
        x, around = reference.inputs, self.ball.around(reference.inputs)
        first = self.propose(torch.zeros_like(x), around, 0, generator)
        start = loss_at(policy, self.objective, x + first, reference)
        best, found, asked = first.clone(), start.clone(), len(x)
        rows, part = torch.arange(len(x), device=x.device), reference
        for query in range(1, self.queries):
            if self.until is not None:
                standing = found[rows] <= self.until
                if not bool(standing.all()):
                    rows, around = rows[standing], around.rows(standing)
                    part = part.rows(standing)
                if not len(rows):
                    break
            delta = self.propose(best[rows], around, query, generator)
            loss = loss_at(policy, self.objective, around.x + delta, part)
            better = loss > found[rows]
            best[rows[better]], found[rows[better]] = delta[better], loss[better]
            asked += len(rows)
        return Trajectory(
            reference=reference,
            points=torch.stack([x + first, x + best]),
            gradients=torch.zeros_like(x).unsqueeze(0),
            losses=torch.stack([start, found]),
            worst=x + best,
            event_dims=self.ball.budget_dims,
            forward_passes=1 + (self.queries if self.until is None else asked / len(x)),
        )


@dataclass(frozen=True, eq=False)
class RandomSearch(Search):
    """The worst of many uniform draws from the ball.

    Attributes:
        ball: the threat set.
        objective: ℓ, (output, reference) to losses ``[batch]``.
        queries: draws.
        until: loss above which a row is finished.

    Example:
        >>> ball, g = Ball("linf", 0.1), torch.Generator().manual_seed(0)
        >>> RandomSearch(ball, queries=50)(torch.tanh, torch.zeros(2, 3), g).forward_passes
        51

    Source: Rastrigin, The convergence of the random search method, 1963.
    """

    def propose(
        self, best: Tensor, around: Around, query: int, generator: torch.Generator
    ) -> Tensor:
        """A uniform draw."""
        return around.sample(generator)


@dataclass(frozen=True, eq=False)
class Square(Search):
    """The Square attack on vectors: redraw a random block of features on the ball's surface.

    On linf every feature of the block moves to a corner, ±ε s. On l2 the block takes a random
    direction and all of ε that the other features leave. The block holds half of the
    attackable features at first and halves after 10, 50, 200, 500, 1000, 2000, 4000, 6000 and
    8000 queries, down to one feature (two on l2). The features of a state have no
    neighbours, so a block is any subset, with a sign for each feature.
    On linf images, ``[batch, channels, height, width]`` with ``event_dims=3``, it is a square
    window with a sign for each channel, and the first proposal has vertical stripes.

    Attributes:
        ball: the threat set.
        objective: ℓ, (output, reference) to losses ``[batch]``.
        queries: evaluations of the policy.
        until: loss above which a row is finished.

    Example:
        >>> ball, g = Ball("linf", 0.5), torch.Generator().manual_seed(0)
        >>> objective = lambda output, reference: output.sum(1)
        >>> Square(ball, objective, queries=60)(torch.tanh, torch.zeros(1, 3), g).worst
        tensor([[0.5000, 0.5000, 0.5000]])

    Source: Andriushchenko et al., Square attack, 2020, https://arxiv.org/abs/1912.00049.
    """

    def propose(
        self, best: Tensor, around: Around, query: int, generator: torch.Generator
    ) -> Tensor:
        """The best so far with one block redrawn; the first proposal is all new."""
        x = around.x
        if isinstance(around, AroundBox) and x.ndim == 4 and around.budget_dims == 3:
            return _window(best, around, query, generator)
        if query == 0:
            noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
            fresh = around.steepest(around.masked(noise))
            return around.project(self.ball.epsilon * fresh)
        share = 0.5 ** (1 + _halvings(query))
        if isinstance(around, AroundBox):
            return _corners(best, around, share, generator)
        least = 1 if self.ball.norm == "linf" else 2
        kept, noise = _redrawn(best, around, share, least, generator)
        fresh = around.steepest(around.masked(noise))
        if self.ball.norm == "linf":
            return around.project(kept + self.ball.epsilon * fresh)
        used = over_budgets(self.ball.size(kept), self.ball.budget_dims)
        room = (self.ball.epsilon**2 - used**2).clamp_min(0).sqrt()
        return around.project(kept + room * fresh)


_FIRST_WINDOW = 0.8
_CHECKPOINTS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


def _halvings(query: int) -> int:
    return sum(query > checkpoint for checkpoint in _CHECKPOINTS)


def _window(best: Tensor, around: AroundBox, query: int, generator: torch.Generator) -> Tensor:
    """δ with a square window of all rows redrawn, stripes at first."""
    rows, channels, height, width = around.x.shape
    dtype, device = around.x.dtype, around.x.device
    if query == 0:
        size = (rows, channels, 1, width)
        up = torch.rand(size, generator=generator, device=device, dtype=dtype) < 0.5
        return torch.where(up, around.high, around.low)
    share = _FIRST_WINDOW * 0.5 ** _halvings(query)
    side = max(1, round((share * height * width) ** 0.5))
    place = torch.rand((2,), generator=generator, device=device, dtype=torch.float64).tolist()
    ends = [int(u * (max(n - side, 0) + 1)) for u, n in zip(place, (height, width), strict=True)]
    window = (..., slice(ends[0], ends[0] + side), slice(ends[1], ends[1] + side))
    size = (rows, channels, 1, 1)
    up = torch.rand(size, generator=generator, device=device, dtype=dtype) < 0.5
    delta = best.clone()
    delta[window] = torch.where(up, around.high[window], around.low[window])
    return delta


def _corners(best: Tensor, around: AroundBox, share: float, generator: torch.Generator) -> Tensor:
    """δ with a share of each row's features, drawn with repetition, at their faces."""
    x = around.x
    features = x[0].numel()
    order, most, free = None, features, torch.full((1, 1), features, device=x.device)
    if around.allowed is not None:
        allowed = around.allowed.flatten(1)
        order = (1 - allowed).argsort(dim=1, stable=True)
        free = allowed.sum(1, keepdim=True).long().clamp_min(1)
        most = int(free.amax())
    size = (len(x), max(1, math.ceil(share * most)))
    dtype = torch.promote_types(x.dtype, torch.float32)
    uniform = torch.rand(size, generator=generator, device=x.device, dtype=dtype)
    number = (uniform * (2 * free)).long()  # twice the feature, and one if it goes up
    chosen, up = number // 2, number % 2 == 1
    chosen = chosen if order is None else order.gather(1, chosen)
    low, high = (face.flatten(1).gather(1, chosen) for face in (around.low, around.high))
    return best.flatten(1).scatter(1, chosen, torch.where(up, high, low)).reshape(x.shape)


def _redrawn(
    best: Tensor, around: Around, share: float, least: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """δ without a block, a random share of each row's features, and noise on the block."""
    x = around.x
    uniform = torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    open_to = around.masked(1 + uniform).flatten(1)
    free = int((open_to > 0).sum(1).amax())
    drawn = min(max(least, math.ceil(share * free)), x[0].numel())
    chosen = open_to.topk(drawn, sorted=False).indices
    noise = torch.randn(chosen.shape, generator=generator, device=x.device, dtype=x.dtype)
    flat = best.flatten(1)
    fresh = torch.zeros_like(flat).scatter(1, chosen, noise)
    return flat.scatter(1, chosen, 0.0).reshape(x.shape), fresh.reshape(x.shape)
