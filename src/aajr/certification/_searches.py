"""Random search with shrinking steps, which works even if gradients are masked."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aajr.adversaries import Search
from aajr.geometry import Around


@dataclass(frozen=True, eq=False)
class BlackBoxSearch(Search):
    """Random search on the ball's surface: redraw some coordinates and keep the worse point.

    On linf balls the points are corners and coordinates flip their sign; on l2 balls they lie on
    the sphere. The share of redrawn coordinates falls from one half towards one coordinate, as in
    the Square attack, but without squares, because the features of a state have no neighbours. The
    schedule depends on the total number of queries, so a longer search is not a continuation of a
    shorter one.

    Example:
        >>> from aajr import Ball
        >>> ball, g = Ball("linf", 0.5), torch.Generator().manual_seed(0)
        >>> objective = lambda output, reference: output.sum(1)
        >>> search = BlackBoxSearch(ball, objective, queries=60)
        >>> search(torch.tanh, torch.zeros(1, 3), g).worst
        tensor([[0.5000, 0.5000, 0.5000]])

    Source: Andriushchenko et al., Square attack, 2020, https://arxiv.org/abs/1912.00049.
    """

    def propose(
        self, best: Tensor, around: Around, query: int, generator: torch.Generator
    ) -> Tensor:
        """A point of the surface that shares coordinates with the best point so far."""
        x = around.x
        noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        fresh = around.steepest(around.masked(noise)) * self.ball.epsilon
        if query == 0:
            return around.project(fresh)
        uniform = torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        open_to = around.masked(torch.ones_like(x)).flatten(1)
        features = open_to.sum(1).reshape(-1, *[1] * (x.ndim - 1))
        share = (1 / features).clamp_min(0.5 * (1 - query / self.queries) ** 2)
        mixed = torch.where(uniform < share, fresh, best)
        size = self.ball.size(mixed)[(...,) + (None,) * self.ball.budget_dims]
        surface = mixed * torch.where(size > 0, self.ball.epsilon / size, size)
        return around.project(surface)
