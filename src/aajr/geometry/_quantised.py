"""Perturbations on a grid, as from a sensor of finite resolution."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from aajr._checks import check_count, check_number
from aajr.geometry._ball import Ball
from aajr.geometry._finite import FiniteSet
from aajr.geometry._sparse import InsideCube, rounding


@final
@dataclass(frozen=True, eq=False)
class Quantised(InsideCube, FiniteSet):
    """Δ = {δ : δ_i is a multiple of q s_i of size at most ε s_i}, within the ball's valid box.

    With q = ε the levels are -ε, 0 and ε.

    Attributes:
        ball: the L∞ ball, with its mask, scale and valid box.
        quantum: q, the resolution in units of the ball's scale, at most ε.
        budget: greatest number of features that change; None for no limit.

    Raises:
        ValueError: a ball that is not L∞, a quantum above ε.

    Example:
        >>> import torch
        >>> grid = Quantised(Ball("linf", 0.5), quantum=0.25)
        >>> grid.project(torch.tensor([[0.2, -0.9, 0.1]]), torch.zeros(1, 3))
        tensor([[ 0.2500, -0.5000,  0.0000]])
    """

    ball: Ball
    quantum: float
    budget: int | None = None
    groups = None

    def __post_init__(self) -> None:
        self.check_norm()
        check_number("quantum", self.quantum, exclusive=True)
        if 0 < self.epsilon < self.quantum:
            raise ValueError(
                f"quantum={self.quantum} exceeds epsilon={self.epsilon}, so that nothing can "
                "change; give a quantum of at most ε"
            )
        if self.budget is not None:
            check_count("budget", self.budget)

    def with_epsilon(self, epsilon: float) -> Quantised:
        """The same grid with another ε."""
        return replace(self, ball=self.ball.with_epsilon(epsilon))

    def check(self, x: Tensor) -> None:
        """Raise ValueError unless x is a finite batch that this set fits."""
        self.ball.check(x)
        super().check(x)

    def attackable(self, x: Tensor) -> Tensor:
        """1 where the adversary may act and 0 elsewhere, in x's shape ``[batch, *event]``."""
        return self.ball.attackable(x)

    def size(self, delta: Tensor) -> Tensor:
        """‖δ/s‖_∞ over the event, ``[batch]``."""
        return self.ball.size(delta)

    @torch.no_grad()
    def options(self, x: Tensor, data: Mapping[str, Tensor]) -> Tensor:
        """The levels other than 0; a level outside the valid box becomes the last one inside."""
        count = math.floor(self.epsilon / self.quantum * (1 + 1e-6))
        step = self.quantum * self.ball.steepest(torch.ones_like(x))
        far = count * step * self.attackable(x)
        around = self.ball.around(x)
        slack = (1e-6 + rounding(far, x) / step).clamp_max(0.4)
        least = (around.project(-far) / step - slack).ceil()
        most = (around.project(far) / step + slack).floor()
        levels = [level for level in range(-count, count + 1) if level] or [0]
        whole = (torch.full_like(x, level).clamp(least, most) * step for level in levels)
        return torch.stack([around.project(delta) for delta in whole])
