"""Layers that ``bound_propagation`` 0.4.7 lacks, with its interface; the extra is GPL-3.0."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from bound_propagation import BoundModelFactory, IntervalBounds, LinearBounds
from bound_propagation.activation import BoundActivation, BoundReLU, BoundSigmoid, BoundTanh
from bound_propagation.general import BoundModule
from torch import Tensor, nn

from aajr.certification._curves import CURVES, curve_of, enclosed
from aajr.certification._linear import FlatConv, Rescale, absolute

# A lower bound above its upper bound by more than this is an error, not rounding.
_TURNED = 1e-6


def bound_model(layers: nn.Sequential) -> Any:
    """The layers as a module of ``bound_propagation``."""
    factory = BoundModelFactory()
    for kind in CURVES:
        factory.register(kind, BoundCurve)
    factory.register(Rescale, BoundRescale)
    factory.register(FlatConv, BoundConv)
    for own, host in ((nn.ReLU, BoundReLU), (nn.Sigmoid, BoundSigmoid), (nn.Tanh, BoundTanh)):
        factory.register(own, type(f"Ordered{host.__name__}", (_Ordered, host), {}))
    return factory.build(layers)


class _Ordered:
    """Raises a ValueError if bounds are not in order, where the package only has an ``assert``."""

    def alpha_beta(self, preactivation: Any) -> None:
        super().alpha_beta(_ordered(preactivation))  # type: ignore[misc]


def _ordered(bounds: Any) -> Any:
    if bool((bounds.lower > bounds.upper + _TURNED).any()):
        raise ValueError(
            "CROWN computed an intermediate lower bound above its upper bound, because of rounding "
            "in float64; use method='ibp', or rescale the policy's inputs or weights"
        )
    lower, upper = (f(bounds.lower, bounds.upper) for f in (torch.minimum, torch.maximum))
    return IntervalBounds(bounds.region, lower, upper)


class _BetweenLines(BoundActivation):  # type: ignore[misc]
    """An activation between two parallel lines, which are not optimised."""

    def lines(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Slope and both intercepts; see :func:`aajr.certification._curves.enclosed`."""
        raise NotImplementedError

    def range(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Least and greatest values on a box."""
        raise NotImplementedError

    def alpha_beta(self, preactivation: Any) -> None:
        """Lines on the interval of every feature."""
        bounds = _ordered(preactivation)
        slope, self.beta_lower, self.beta_upper = self.lines(bounds.lower, bounds.upper)
        self.alpha_lower = self.alpha_upper = slope

    def ibp_forward(
        self, bounds: Any, save_relaxation: bool = False, save_input_bounds: bool = False
    ) -> Any:
        """The range on a box."""
        if save_relaxation:
            self.alpha_beta(bounds)
            self.bounded = True
        if save_input_bounds:
            self.input_bounds = bounds
        return IntervalBounds(bounds.region, *self.range(bounds.lower, bounds.upper))

    def parameterize_alpha_beta(self, *lines: Tensor) -> tuple[Tensor, ...]:
        """Return the lines unchanged: they have no parameters to optimise."""
        return lines


class BoundCurve(_BetweenLines):
    """An activation of one feature."""

    def __init__(self, module: nn.Module, factory: Any, **kwargs: Any) -> None:
        super().__init__(module, factory, **kwargs)
        self.curve = curve_of(module)

    def lines(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The curve's lines."""
        return self.curve.enclosed(lower, upper)

    def range(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """The curve's range."""
        return self.curve.range(lower, upper)


class BoundRescale(_BetweenLines):
    """z_i/sqrt(z_i²/n + rest) for every i, for all values of rest between its bounds."""

    module: Rescale

    def lines(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Lines that enclose the curves for all values of rest."""
        low, _ = rest = self.module.rest(lower, upper)
        slope = low.rsqrt()
        curvature = 0.86 / (low * self.module.features**0.5)  # sup |3z (1 + z²)^-5/2| < 0.86
        functions = (partial(self.least, rest), partial(self.greatest, rest))
        return enclosed(*functions, lower, upper, slope, curvature, knots=(0.0,))

    def range(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """The range on a box, exact if rest is treated as independent of z_i."""
        rest = self.module.rest(lower, upper)
        return self.least(rest, lower), self.greatest(rest, upper)

    def least(self, rest: tuple[Tensor, Tensor], z: Tensor) -> Tensor:
        """The least value at z."""
        return self.module.value(z, torch.where(z > 0, rest[1], rest[0]))

    def greatest(self, rest: tuple[Tensor, Tensor], z: Tensor) -> Tensor:
        """The greatest value at z."""
        return self.module.value(z, torch.where(z > 0, rest[0], rest[1]))


class BoundConv(BoundModule):  # type: ignore[misc]
    """A convolution on flat rows."""

    module: FlatConv
    need_relaxation = False

    def crown_backward(self, linear_bounds: Any, optimize: bool) -> Any:
        """Linear functions of the output as functions of the input."""
        sides = (linear_bounds.lower, linear_bounds.upper)
        return LinearBounds(linear_bounds.region, *(self._back(side) for side in sides))

    def _back(self, side: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor] | None:
        if side is None:
            return None
        slope, intercept = side
        back = self.module.apply_transposed(slope, self.module.conv.weight)
        return back, intercept + slope @ self.module.constant

    def ibp_forward(
        self, bounds: Any, save_relaxation: bool = False, save_input_bounds: bool = False
    ) -> Any:
        """The output box: the centre maps through W, the radius through |W|."""
        middle = self.module(bounds.center)
        reach = absolute(self.module, bounds.width / 2)
        return IntervalBounds(bounds.region, middle - reach, middle + reach)

    def propagate_size(self, in_size: int) -> int:
        """The number of outputs."""
        return self.module.out_features
