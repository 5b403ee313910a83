"""Activations as functions of one feature: bounds on slope and curvature, and their knots."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from aajr._layers import Clamp
from aajr.certification._linear import SmoothSoftplus

_CELLS = 64
_UPWARDS = 1 + 1e-6

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Curve:
    """A function of one feature.

    Attributes:
        function: f, elementwise.
        slope: c, with |f'| ≤ c.
        curvature: K, with |f''| ≤ K between the knots.
        knots: where f has a kink, or turns from falling to rising or back.
        ceiling: a bound on |f|.
        gap: largest difference between torch's values and f; bounds hold for both.
    """

    function: Function
    slope: float
    curvature: float
    knots: tuple[Tensor | float, ...] = ()
    ceiling: float = math.inf
    gap: float = 0.0

    def range(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Least and greatest value on [lower, upper]: at an end or at a knot."""
        least, greatest = _extremes(self.function, self.function, self._points(lower, upper))
        return least - self.gap, greatest + self.gap

    def enclosed(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(a, b, b') with a z + b ≤ f(z) ≤ a z + b' on [lower, upper]; see :func:`enclosed`."""
        slope, curvature = (torch.full_like(lower, v) for v in (self.slope, self.curvature))
        a, b, above = enclosed(
            self.function, self.function, lower, upper, slope, curvature, knots=self.knots
        )
        return a, b - self.gap, above + self.gap

    def size(self, size: Tensor) -> Tensor:
        """A bound on |f(z)| for |z| ≤ size."""
        at_zero = self.function(torch.zeros_like(size)).abs()
        return (at_zero + self.slope * size).clamp_max(self.ceiling)

    def _points(self, lower: Tensor, upper: Tensor) -> list[Tensor]:
        return [lower, upper, *knots_between(self.knots, lower, upper)]


def enclosed(
    least: Function,
    greatest: Function,
    lower: Tensor,
    upper: Tensor,
    slope: Tensor,
    curvature: Tensor,
    knots: tuple[Tensor | float, ...] = (),
) -> tuple[Tensor, Tensor, Tensor]:
    r"""(a, b, b') with a z + b ≤ least(z) and greatest(z) ≤ a z + b' on [lower, upper].

    a is the slope of the secant. g = f - a z is evaluated on a grid of width h, at both ends and at
    the knots. The extremes of g lie at one of these points, or where g' = 0, at most h/2 from a
    point of the grid. There g differs from its value at that point by at most

    .. math:: \min(K h^2/8,\ (c + |a|)\,h/2).

    Args:
        least: a function that bounds f from below.
        greatest: a function that bounds f from above; equal to ``least`` where f is known.
        lower: lower ends of the intervals.
        upper: upper ends of the intervals.
        slope: c, a bound on the slopes of both functions.
        curvature: K, a bound on their second derivatives between the knots.
        knots: points where they are not smooth.
    """
    width = (upper - lower).clamp_min(0.0)
    rise = least(upper) + greatest(upper) - least(lower) - greatest(lower)
    secant = torch.where(width > 1e-12, rise / (2 * width.clamp_min(1e-12)), 0.0)
    a = torch.maximum(torch.minimum(secant, slope), -slope)
    cell = width / _CELLS
    grid = [torch.minimum(lower + index * cell, upper) for index in range(_CELLS)]
    points = [*grid, upper, *knots_between(knots, lower, upper)]
    b, above = _extremes(lambda z: least(z) - a * z, lambda z: greatest(z) - a * z, points)
    slack = torch.minimum(curvature * cell.square() / 8, (slope + a.abs()) * cell / 2) * _UPWARDS
    return a, b - slack, above + slack


def knots_between(knots: tuple[Tensor | float, ...], lower: Tensor, upper: Tensor) -> list[Tensor]:
    """The knots, each moved to the nearest end if it lies outside."""
    inside = [torch.as_tensor(knot, dtype=lower.dtype, device=lower.device) for knot in knots]
    return [torch.minimum(torch.maximum(knot, lower), upper) for knot in inside]


def _extremes(least: Function, greatest: Function, points: list[Tensor]) -> tuple[Tensor, Tensor]:
    low, high = least(points[0]), greatest(points[0])
    for point in points[1:]:
        low, high = torch.minimum(low, least(point)), torch.maximum(high, greatest(point))
    return low, high


CURVES: Mapping[type[nn.Module], Callable[[Any], Curve]] = {
    nn.Tanh: lambda f: Curve(f, 1.0, 0.77, ceiling=1.0),
    nn.Sigmoid: lambda f: Curve(f, 0.25, 0.0963, ceiling=1.0),
    nn.ReLU: lambda f: Curve(f, 1.0, 0.0, (0.0,)),
    nn.LeakyReLU: lambda f: Curve(f, max(1.0, abs(f.negative_slope)), 0.0, (0.0,)),
    nn.ELU: lambda f: Curve(f, max(1.0, abs(f.alpha)), abs(f.alpha), (0.0,)),
    SmoothSoftplus: lambda f: Curve(f, 1.0, f.beta / 4, gap=f.gap),
    nn.SiLU: lambda f: Curve(f, 1.1, 0.5, (-1.2784645427610738,)),
    nn.GELU: lambda f: Curve(f, 1.13, 0.8, (-0.7517915246935645,)),
    nn.Mish: lambda f: Curve(f, 1.089, 0.7, (-1.192431214515495,)),
    Clamp: lambda f: Curve(f, 1.0, 0.0, (f.low, f.high)),
}
"""Activations by their type.

Constants: |tanh''| ≤ 4/(3√3), |σ''| ≤ 1/(6√3), |softplus''| ≤ β/4; for GELU f'' = φ(z)(2 - z²)
and f' ≤ 1.129; for SiLU |f''| ≤ ½ and f' ≤ 1.0999; for Mish |f''| ≤ 0.645 and f' ≤ 1.0885.
"""


def curve_of(layer: nn.Module) -> Curve:
    """The curve of an activation."""
    for kind, curve in CURVES.items():
        if isinstance(layer, kind):
            return curve(layer)
    raise TypeError(f"{layer} is no activation of a known curve")
