"""How far to go along the projection arc x(η) = P(x_k + η S(g_k)), per sample.

x_k = x + δ_k, and P is the projection on x + Δ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from aajr._settings import StepRule as StepRule
from aajr._vectors import length, per_row, unit

_SUFFICIENT = 1e-4
_HALVINGS = 30


class Passes(NamedTuple):
    """Passes that a rule needs beyond the gradient, in units of the whole batch."""

    forward: float = 0
    curvature: float = 0


@dataclass(frozen=True, eq=False)
class Arc:
    """The points to which steps of different sizes lead.

    Attributes:
        point: x_k, ``[batch, *event]``.
        gradient: g_k, ``[batch, *event]``.
        direction: S(g_k), ``[batch, *event]``.
        loss: F(x_k), ``[batch]``.
        moved: P(x_k + η d) for directions d and sizes η, (point, direction, size) to a point.
        score: F of candidates of the given rows, (points, rows) to ``[rows]``.
        curvature: dᵀ∇²F(x_k) d for unit directions d, ``[batch, *event]`` to ``[batch]``.
        size: ‖v/s‖_p of directions, ``[batch, *event]``, with dimensions of one for the budget.
    """

    point: Tensor
    gradient: Tensor
    direction: Tensor
    loss: Tensor
    moved: Callable[[Tensor, Tensor, float | Tensor], Tensor]
    score: Callable[[Tensor, Tensor], Tensor]
    curvature: Callable[[Tensor], Tensor]
    size: Callable[[Tensor], Tensor]

    def at(self, size: float | Tensor) -> Tensor:
        """x(η); sizes broadcast to ``[batch, *event]``."""
        return self.moved(self.point, self.direction, size)


def fixed(arc: Arc, size: float) -> tuple[Tensor, Passes]:
    """η is the step size."""
    return arc.at(size), Passes()


def normalized(arc: Arc, size: float) -> tuple[Tensor, Passes]:
    """η = size / ‖S(g)/s‖_p, so that every step before projection is ``size`` long in the ball."""
    norm = arc.size(arc.direction)
    return arc.at(torch.where(norm > 0, size / norm, 0.0)), Passes()


def stable(arc: Arc, size: float) -> tuple[Tensor, Passes]:
    """η from the effective smoothness measured along the step, halved where the loss still falls.

    With d the unit direction of the step that η = size would make, the length r = ⟨g, d⟩/L_eff
    maximises the guaranteed gain r⟨g, d⟩ - ½L_eff r²; it is half of the largest stable length.
    L_eff is measured only at the start of the segment, so a step that lowers F is halved as well.
    """
    whole = arc.at(size) - arc.point
    dims = per_row(whole)
    d = unit(whole, dims)
    slope = (arc.gradient * d).sum(dims, keepdim=True).clamp_min(0)
    smoothness = arc.curvature(d).abs().reshape(slope.shape)
    longest = length(whole, dims)
    share = torch.where(smoothness * longest > slope, slope / (smoothness * longest), 1.0)
    point, trials = _back_off(arc, size * share, sufficient=0.0)
    return point, Passes(trials, 1)


def backtracking(arc: Arc, size: float) -> tuple[Tensor, Passes]:
    """The largest of η = size, size/2, size/4, ... with a sufficient increase.

    F(x(η)) - F(x_k) ≥ 10⁻⁴ ⟨g_k, x(η) - x_k⟩, Armijo's rule along the projection arc. A sample
    for which no size passes stays where it is.

    Source: Bertsekas, On the Goldstein-Levitin-Polyak gradient projection method, 1976.
    """
    start = arc.point.new_full((len(arc.point), *[1] * (arc.point.ndim - 1)), size)
    point, trials = _back_off(arc, start, sufficient=_SUFFICIENT)
    return point, Passes(trials)


def _back_off(arc: Arc, size: Tensor, sufficient: float) -> tuple[Tensor, float]:
    """Halve the sizes ``[batch, 1, ...]`` of the rows that gain too little."""
    point = arc.point.clone()
    rows = torch.arange(len(point), device=point.device)
    scored = 0
    for _ in range(_HALVINGS):
        candidate = arc.at(size)[rows]
        rise = (arc.gradient[rows] * (candidate - point[rows])).flatten(1).sum(1)
        gain = arc.score(candidate, rows) - arc.loss[rows]
        scored += len(rows)
        accepted = gain >= (sufficient * rise).clamp_min(0)
        point[rows[accepted]] = candidate[accepted]
        rows = rows[~accepted]
        if not len(rows):
            break
        size = size / 2
    return point, scored / len(point)


STEP_RULES: dict[str, Callable[[Arc, float], tuple[Tensor, Passes]]] = {
    "fixed": fixed,
    "normalized": normalized,
    "stable": stable,
    "backtracking": backtracking,
}
