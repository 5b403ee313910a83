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
from aajr.adversaries._evaluation import loss_at, over_budgets, over_rows
from aajr.adversaries._objectives import Divergence
from aajr.adversaries._record import better, two_points
from aajr.geometry import Around, AroundBox, Ball
from aajr.trajectory import Objective, Reference, Trajectory


@dataclass(frozen=True, eq=False)
class Search(Adversary):
    """Proposes a point per query and keeps, per sample, the one of highest loss.

    Attributes:
        ball: the threat set.
        objective: ℓ, (output, reference) to losses ``[batch]``.
        queries: evaluations of the policy at perturbed points.
        until: loss above which a row is finished and not queried any more; None to spend all
            queries. 0 suits objectives that are positive where the attack has succeeded, such as
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
        worst, highest, asked = first.clone(), start.clone(), len(x)
        rows, part = torch.arange(len(x), device=x.device), reference
        best, found = first, start
        for query in range(1, self.queries):
            if self.until is not None:
                standing = found <= self.until
                if not bool(standing.all()):
                    worst[rows], highest[rows] = best, found
                    rows, best, found = rows[standing], best[standing], found[standing]
                    around, part = around.rows(standing), part.rows(standing)
                if not len(rows):
                    break
            delta = self.propose(best, around, query, generator)
            loss = loss_at(policy, self.objective, around.x + delta, part)
            best, found = better(best, found, delta, loss)
            asked += len(rows)
        worst[rows], highest[rows] = best, found
        passes = 1 + (self.queries if self.until is None else asked / len(x))
        losses = (start, highest)
        return two_points(reference, x + first, x + worst, losses, self.ball.budget_dims, passes)


@dataclass(frozen=True, eq=False)
class RandomSearch(Search):
    """The worst of many uniform draws from the ball.

    A longer search begins with the draws of a shorter one.

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
    """The Square attack: redraw a random block of features on the ball's surface.

    On linf every feature of the block moves to ±ε s. On l2 the block gets a random direction and
    the part of the budget that the other features leave. The features of a state have no
    neighbours, so a block is any subset of them, with a sign for each feature.
    On linf images, ``[batch, channels, height, width]`` with ``event_dims=3``, the block is a
    square window with a sign for each channel, and the first proposal has vertical stripes. On
    linf, every proposal changes at least one sign.

    At query q ≥ 1 of N planned, the block holds the share

        p(q) = max(0.8 · 2⁻ʰ, 4/N),  h = #{c ∈ C : 10⁴ q/N > c},
        C = {10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000},

    but never more than 0.8: of the attackable features, rounded up and at least two; on images,
    of the pixels, in a window of side √(p · height · width), rounded and at least one. 0.8 and C
    are the source's schedule for 10,000 queries. The bound 4/N is ours: with smaller blocks, few
    queries would leave most features as the first proposal drew them. The minimum of two features
    is ours too: with one at a time, the search stops where no single feature improves.

    Attributes:
        ball: the threat set.
        objective: ℓ, (output, reference) to losses ``[batch]``.
        queries: evaluations of the policy.
        until: loss above which a row is finished.
        planned: N; ``queries`` if None. With the same N, a longer search begins with the queries
            of a shorter one and never finds a lower loss.

    Example:
        >>> ball, g = Ball("linf", 0.5), torch.Generator().manual_seed(0)
        >>> objective = lambda output, reference: output.sum(1)
        >>> Square(ball, objective, queries=60)(torch.tanh, torch.zeros(1, 3), g).worst
        tensor([[0.5000, 0.5000, 0.5000]])

    Source: Andriushchenko et al., Square attack, 2020, https://arxiv.org/abs/1912.00049.
    """

    planned: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.planned is not None:
            check_count("planned", self.planned)

    def propose(
        self, best: Tensor, around: Around, query: int, generator: torch.Generator
    ) -> Tensor:
        """The best so far with one block redrawn; the first proposal redraws all features."""
        x = around.x
        if isinstance(around, AroundBox) and x.ndim == 4 and around.budget_dims == 3:
            if query == 0:
                return _stripes(around, generator)
            return _window(best, around, self._share(query), generator)
        if query == 0:
            noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
            fresh = around.steepest(around.masked(noise))
            return around.project(self.ball.epsilon * fresh)
        share = self._share(query)
        if isinstance(around, AroundBox):
            return _corners(best, around, share, generator)
        kept, noise = _redrawn(best, around, share, generator)
        fresh = around.steepest(around.masked(noise))
        if self.ball.norm == "linf":
            return around.project(kept + self.ball.epsilon * fresh)
        used = over_budgets(self.ball.size(kept), self.ball.budget_dims)
        room = (self.ball.epsilon**2 - used**2).clamp_min(0).sqrt()
        return around.project(kept + room * fresh)

    def _share(self, query: int) -> float:
        """p(q)."""
        planned = self.planned or self.queries
        halvings = sum(10_000 * query > checkpoint * planned for checkpoint in _CHECKPOINTS)
        return max(_FIRST * 0.5**halvings, min(_FIRST, _COVERAGE / planned))


_FIRST = 0.8
_CHECKPOINTS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
_COVERAGE = 4
_LEAST = 2


def _stripes(around: AroundBox, generator: torch.Generator) -> Tensor:
    """δ with a sign for each channel and column of every row."""
    x = around.x
    size = (*x.shape[:2], 1, x.shape[3])
    up = torch.rand(size, generator=generator, device=x.device, dtype=x.dtype) < 0.5
    return torch.where(up, around.high, around.low)


def _window(best: Tensor, around: AroundBox, share: float, generator: torch.Generator) -> Tensor:
    """δ with new signs, at least one of them changed, in a window at the same place in all rows."""
    rows, channels, height, width = around.x.shape
    device = around.x.device
    side = max(1, round((share * height * width) ** 0.5))
    place = torch.rand((2,), generator=generator, device=device, dtype=torch.float64).tolist()
    ends = [int(u * (max(n - side, 0) + 1)) for u, n in zip(place, (height, width), strict=True)]
    window = (..., slice(ends[0], ends[0] + side), slice(ends[1], ends[1] + side))
    low, high = around.low[window], around.high[window]
    uniform = torch.rand((rows, channels, 1, 1), generator=generator, device=device)
    up = uniform < 0.5
    same = (torch.where(up, high, low) == best[window]).flatten(1).all(1)
    margin = (uniform - 0.5).abs()  # the channel with the least margin is flipped
    up ^= over_rows(same, up) & (margin == margin.amin(1, keepdim=True))
    delta = best.clone()
    delta[window] = torch.where(up, high, low)
    return delta


def _corners(best: Tensor, around: AroundBox, share: float, generator: torch.Generator) -> Tensor:
    """δ with a share of each row's features at new faces of the box, at least one of them changed.

    The features are drawn with repetition.
    """
    x = around.x
    features = x[0].numel()
    order, most, free = None, features, torch.full((1, 1), features, device=x.device)
    if around.allowed is not None:
        allowed = around.allowed.flatten(1)
        order = (1 - allowed).argsort(dim=1, stable=True)
        free = allowed.sum(1, keepdim=True).long().clamp_min(1)
        most = int(free.amax())
    size = (len(x), max(_LEAST, math.ceil(share * most)))
    dtype = torch.promote_types(x.dtype, torch.float32)
    uniform = torch.rand(size, generator=generator, device=x.device, dtype=dtype)
    number = (uniform * (2 * free)).long()  # 2 · feature + (1 if it goes up)
    chosen, up = number // 2, number % 2 == 1
    chosen = chosen if order is None else order.gather(1, chosen)
    low, high = (face.flatten(1).gather(1, chosen) for face in (around.low, around.high))
    flat = best.flatten(1)
    one, bottom, top = chosen[:, :1], low[:, :1], high[:, :1]
    other = torch.where(flat.gather(1, one) == top, bottom, top)
    delta = flat.scatter(1, chosen, torch.where(up, high, low)).scatter_(1, one, other)
    return delta.reshape(x.shape)


def _redrawn(
    best: Tensor, around: Around, share: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """δ with zeros on a block, a random share of each row's features, and noise on the block."""
    x = around.x
    uniform = torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    open_to = around.masked(1 + uniform).flatten(1)
    free = int((open_to > 0).sum(1).amax())
    drawn = min(max(_LEAST, math.ceil(share * free)), x[0].numel())
    chosen = open_to.topk(drawn, sorted=False).indices
    noise = torch.randn(chosen.shape, generator=generator, device=x.device, dtype=x.dtype)
    flat = best.flatten(1)
    fresh = torch.zeros_like(flat).scatter(1, chosen, noise)
    return flat.scatter(1, chosen, 0.0).reshape(x.shape), fresh.reshape(x.shape)
