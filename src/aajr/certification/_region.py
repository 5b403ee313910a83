"""The threat set around states, in the form that bound propagation needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from aajr.geometry import Ball

# The region is a little larger than the ball, because projection on the ball rounds.
_SLACK = 1e-12


@dataclass(frozen=True, eq=False)
class Region:
    """A box that contains the threat set and, for an l2 ball, an ellipsoid that also contains it.

    It has the interface of a region of ``bound_propagation``. The package's own l2 set computes the
    dual exponent as p/(1 - p) instead of p/(p - 1), so its bounds are not sound.

    Attributes:
        lower: least corner, ``[batch, features]``.
        upper: greatest corner, ``[batch, features]``.
        middle: centre of the ellipsoid, ``[batch, features]``.
        axes: half axes ε s of the ellipsoid, 0 on protected features, ``[batch, features]``; None
            without an ellipsoid.
    """

    lower: Tensor
    upper: Tensor
    middle: Tensor
    axes: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """The device of the corners."""
        return self.lower.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the corners."""
        return self.lower.dtype

    def __len__(self) -> int:
        return len(self.lower)

    def size(self, dim: int | None = None) -> Any:
        """The shape of a corner."""
        return self.lower.shape if dim is None else self.lower.shape[dim]

    def rows(self, part: slice) -> Region:
        """The region of some states."""
        axes = None if self.axes is None else self.axes[part]
        return Region(self.lower[part], self.upper[part], self.middle[part], axes)

    def bounding_hyperrect(self) -> Any:
        """The box."""
        from bound_propagation import IntervalBounds

        return IntervalBounds(self, self.lower, self.upper)

    def concretize(self, bounds: Any) -> tuple[Tensor, Tensor]:
        """Least value of the lower and greatest of the upper linear function on the region."""
        slope, intercept = bounds.lower
        return -self._greatest(-slope, -intercept), self._greatest(*bounds.upper)

    def _greatest(self, slope: Tensor, intercept: Tensor) -> Tensor:
        """max ⟨a, x⟩ + b: ⟨a, c⟩ + ⟨|a|, w⟩ on a box, ⟨a, x₀⟩ + ‖ε s a‖₂ on an ellipsoid."""
        centre, half = (self.lower + self.upper) / 2, (self.upper - self.lower) / 2
        value = apply_rows(slope, centre) + apply_rows(slope.abs(), half)
        if self.axes is not None:
            bulge = (slope * self.axes.unsqueeze(1)).norm(dim=-1)
            value = torch.minimum(value, apply_rows(slope, self.middle) + bulge)
        return value + intercept


def check_ball(ball: Ball, x: Tensor) -> None:
    """Raise ValueError unless the threat set is a ball that fits the states."""
    if not isinstance(ball, Ball):
        raise ValueError(
            f"ball is a {type(ball).__name__}; bounds and audits need an aajr.Ball. For another "
            "threat set, pass a ball that contains it: bounds on the ball hold for the set too"
        )
    ball.check(x)


def region_around(ball: Ball, x: Tensor, epsilon: Tensor) -> Region:
    """The region of radius ``epsilon`` ``[batch]`` around x ``[batch, *event]``, in rows.

    The box is {|δ_i| ≤ ε s_i} restricted by the mask and by the valid inputs. It is the smallest
    box that contains the threat set, for either norm.
    """
    unit = _scale(ball, x) * ball.attackable(x)
    reach = (unit.flatten(1) * epsilon.unsqueeze(1)) * (1 + _SLACK)
    rows = x.flatten(1)
    low = torch.maximum(rows - reach, torch.minimum(_face(ball.low, -math.inf, x), rows))
    high = torch.minimum(rows + reach, torch.maximum(_face(ball.high, math.inf, x), rows))
    outward = reach > 0
    low = torch.where(outward, torch.nextafter(low, low.new_tensor(-math.inf)), rows)
    high = torch.where(outward, torch.nextafter(high, high.new_tensor(math.inf)), rows)
    one_budget = ball.norm == "l2" and x.ndim - 1 == ball.budget_dims
    return Region(low, high, rows, reach if one_budget else None)


def unit_reach(ball: Ball, x: Tensor) -> Tensor:
    """s on attackable features and 0 elsewhere, the largest over the batch, ``[features]``."""
    return (_scale(ball, x) * ball.attackable(x)).flatten(1).amax(0)


def euclidean_radius(ball: Ball, x: Tensor) -> Tensor:
    """sup ‖δ/s‖₂ for every sample, ``[batch]``: ε per l2 budget, ε √(attackable) for linf."""
    allowed = ball.attackable(x)
    if ball.norm == "linf":
        return ball.epsilon * allowed.flatten(1).sum(1).sqrt()
    budgets = allowed.flatten(-ball.budget_dims).amax(-1).reshape(len(x), -1)
    return ball.epsilon * budgets.sum(1).sqrt()


def _scale(ball: Ball, x: Tensor) -> Tensor:
    return torch.ones_like(x) if ball.scale is None else ball.scale.to(x).expand_as(x)


def apply_rows(matrix: Tensor, vector: Tensor) -> Tensor:
    """Every matrix ``[batch, k, n]`` times its vector ``[batch, n]``."""
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)


def _face(value: Tensor | float | None, default: float, x: Tensor) -> Tensor:
    face = torch.as_tensor(default if value is None else value).to(x)
    return face.expand_as(x).flatten(1)
