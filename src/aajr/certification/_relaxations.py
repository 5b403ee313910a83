"""Layers that ``bound_propagation`` 0.4.7 lacks, in its interface; it is an extra, GPL-3.0."""

from __future__ import annotations

from typing import Any

import torch
from bound_propagation import BoundModelFactory, IntervalBounds, LinearBounds
from bound_propagation.activation import BoundActivation, BoundReLU, BoundSigmoid, BoundTanh
from bound_propagation.general import BoundModule
from torch import Tensor, nn

from aajr._layers import Clamp
from aajr.certification._curves import Curve, curve_of, enclosed
from aajr.certification._linear import FlatConv, Rescale, SmoothSoftplus, absolute

# Lower above upper by more than this is no rounding of ours.
_TURNED = 1e-6


def bound_model(layers: nn.Sequential) -> Any:
    """The layers as a module of ``bound_propagation``."""
    factory = BoundModelFactory()
    for kind in (nn.LeakyReLU, nn.ELU, SmoothSoftplus, nn.SiLU, nn.GELU, nn.Mish, Clamp):
        factory.register(kind, BoundCurve)
    factory.register(Rescale, BoundRescale)
    factory.register(FlatConv, BoundConv)
    for own, host in ((nn.ReLU, BoundReLU), (nn.Sigmoid, BoundSigmoid), (nn.Tanh, BoundTanh)):
        factory.register(own, type(f"Ordered{host.__name__}", (_Ordered, host), {}))
    return factory.build(layers)


class _Ordered:
    """Checks intermediate bounds by an error, where the package has an assert."""

    def alpha_beta(self, preactivation: Any) -> None:
        super().alpha_beta(_ordered(preactivation))  # type: ignore[misc]


def _ordered(bounds: Any) -> Any:
    if bool((bounds.lower > bounds.upper + _TURNED).any()):
        raise ValueError(
            "rounding in float64 turned CROWN's intermediate bounds around; use method='ibp', or "
            "rescale the policy's inputs or weights"
        )
    lower, upper = (f(bounds.lower, bounds.upper) for f in (torch.minimum, torch.maximum))
    return IntervalBounds(bounds.region, lower, upper)


class BoundCurve(BoundActivation):  # type: ignore[misc]
    """An activation between two parallel lines; see :func:`aajr.certification._curves.enclosed`."""

    def __init__(self, module: nn.Module, factory: Any, **kwargs: Any) -> None:
        super().__init__(module, factory, **kwargs)
        curve = curve_of(module)
        if curve is None:
            raise TypeError(f"{module} is no activation")
        self.curve: Curve = curve

    def alpha_beta(self, preactivation: Any) -> None:
        """Lines on the interval of every feature."""
        bounds = _ordered(preactivation)
        slope, self.beta_lower, self.beta_upper = self.curve.enclosed(bounds.lower, bounds.upper)
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
        return IntervalBounds(bounds.region, *self.curve.range(bounds.lower, bounds.upper))

    def parameterize_alpha_beta(self, *lines: Tensor) -> tuple[Tensor, ...]:
        """Lines are not optimised."""
        return lines


class BoundRescale(BoundActivation):  # type: ignore[misc]
    """z_i/sqrt(z_i²/n + rest) for every i, with the rest anywhere between its bounds."""

    module: Rescale

    def alpha_beta(self, preactivation: Any) -> None:
        """Lines around all curves that the rest allows."""
        bounds, scale = _ordered(preactivation), self.module
        low, high = scale.rest(bounds.lower, bounds.upper)

        def least(z: Tensor) -> Tensor:
            return scale.value(z, torch.where(z > 0, high, low))

        def greatest(z: Tensor) -> Tensor:
            return scale.value(z, torch.where(z > 0, low, high))

        slope = low.rsqrt()
        curvature = 0.86 / (low * self.module.features**0.5)  # sup |3z (1 + z²)^-5/2| < 0.86
        a, self.beta_lower, self.beta_upper = enclosed(
            least, greatest, bounds.lower, bounds.upper, slope, curvature, knots=(0.0,)
        )
        self.alpha_lower = self.alpha_upper = a

    def ibp_forward(
        self, bounds: Any, save_relaxation: bool = False, save_input_bounds: bool = False
    ) -> Any:
        """The range on a box, exact but for the rest."""
        if save_relaxation:
            self.alpha_beta(bounds)
            self.bounded = True
        if save_input_bounds:
            self.input_bounds = bounds
        scale, lower, upper = self.module, bounds.lower, bounds.upper
        low, high = scale.rest(lower, upper)
        least = scale.value(lower, torch.where(lower > 0, high, low))
        greatest = scale.value(upper, torch.where(upper > 0, low, high))
        return IntervalBounds(bounds.region, least, greatest)

    def parameterize_alpha_beta(self, *lines: Tensor) -> tuple[Tensor, ...]:
        """Lines are not optimised."""
        return lines


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
        """Centre and radius through W and |W|."""
        middle = self.module(bounds.center)
        reach = absolute(self.module, bounds.width / 2)
        return IntervalBounds(bounds.region, middle - reach, middle + reach)

    def propagate_size(self, in_size: int) -> int:
        """Outputs."""
        return self.module.out_features
