"""The threat set Δ = {δ : ‖δ/s‖_p ≤ ε}, with a mask and a box of valid inputs."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from aajr import _shared
from aajr._checks import check_batch, check_finite, check_same_shape
from aajr._errors import ResolutionWarning
from aajr._vectors import length, widest
from aajr.geometry._around import (
    Around,
    AroundBox,
    AroundEllipsoid,
    precision,
    scaled_signs,
    steepest_on_ellipsoid,
)
from aajr.geometry._rounding import float_rounded_down, radius_less_rounding, reach, rounded_down


@_shared.documented
@dataclass(frozen=True, eq=False)
class Ball(_shared.Ball[float, Tensor]):
    """Images are ``[batch, channels, height, width]``.

    Example:
        >>> import torch
        >>> ball = Ball("linf", 0.1, mask=torch.tensor([True, False]))
        >>> ball.project(torch.tensor([[0.3, 0.3]]), torch.zeros(1, 2))
        tensor([[0.1000, 0.0000]])
    """

    _arrays = Tensor
    _wanted = "torch.Tensor"

    @torch.no_grad()
    def around(self, x: Tensor) -> Around:
        """The set around x; everything that does not depend on δ is computed once.

        For searches, which project many δ around one x ``[batch, *event]``.
        """
        self._check_event(x)
        x = x.detach()
        allowed, scale = self._allowed(x), self._scale(x)
        faces = self._faces(x)
        if self.norm == "linf":
            far = reach(x, self._radius(x))
            far = far if allowed is None else far * allowed
            return AroundBox(x, allowed, scale, self.budget_dims, far, *faces)
        if self.epsilon == 0:
            faces = (x, x)
        open_x = x if allowed is None else x * allowed
        rounded = radius_less_rounding(open_x, scale, self.budget_dims, self.epsilon or 1.0)
        return AroundEllipsoid(x, allowed, scale, self.budget_dims, *rounded, *faces)

    def attackable(self, x: Tensor) -> Tensor:
        """1 where the adversary may act and 0 elsewhere, in x's shape ``[batch, *event]``."""
        allowed = self._allowed(x)
        return torch.ones_like(x) if allowed is None else allowed

    def size(self, delta: Tensor) -> Tensor:
        """‖δ/s‖_p over the budget's dimensions: ``[batch, *event]`` to ``[batch, ...]``.

        Half-precision δ have sizes in float32.
        """
        scale = self._scale(delta)
        delta = delta.to(precision(delta)) if scale is None else delta / scale
        if self.norm == "linf":
            return delta.abs().amax(self._dims)
        return length(delta, self._dims).squeeze(self._dims)

    def project(self, delta: Tensor, x: Tensor) -> Tensor:
        """Euclidean projection of δ on the set around x; both ``[batch, *event]``.

        Source: Boyd and Vandenberghe, Convex Optimization, section 8.1.
        """
        _check_displacement(delta, x)
        return self.around(x).project(delta.detach())

    def project_scaled(self, delta: Tensor, x: Tensor) -> Tensor:
        """argmin_z ‖(z - δ)/s‖₂ in the set around x: the projection that suits steepest steps.

        In an l2 ball with unequal scales, steepest steps with the Euclidean projection stop where
        s²g, not g, is normal to the ball; that is not a maximum. In all other balls both
        projections are the same.
        """
        _check_displacement(delta, x)
        return self.around(x).project_scaled(delta.detach())

    def sample(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """δ uniform in the set around x, ``[batch, *event]``.

        In an l2 ball with a valid box, δ is uniform in the ball without the box, then projected.
        """
        return self.around(x).sample(generator)

    def steepest(self, gradient: Tensor) -> Tensor:
        """argmax_d ⟨g, d⟩ subject to ‖d/s‖_p ≤ 1: s²g/‖sg‖₂ or s·sign(g); zero stays zero."""
        scale = self._scale(gradient)
        if self.norm == "linf":
            return scaled_signs(gradient, scale)
        return steepest_on_ellipsoid(gradient, scale, self._dims)

    def diameter(self, x: Tensor) -> Tensor:
        """sup ‖δ - δ'‖₂ without the valid box, for each budget of x, ``[batch, ...]``."""
        self._check_event(x)
        scale = self._scale(x)
        reach = 2 * self.epsilon * self.attackable(x)
        reach = reach if scale is None else reach * scale
        order = math.inf if self.norm == "l2" else 2
        return torch.linalg.vector_norm(reach, ord=order, dim=self._dims)

    def check(self, x: Tensor) -> None:
        """Raise ValueError unless x is a finite batch that this ball fits."""
        check_batch("x", x)
        self._check_event(x)
        self._scale(x)
        for name in ("low", "high"):
            if isinstance(face := getattr(self, name), Tensor):
                _expanded(name, face, x)
        allowed = self._allowed(x)
        if allowed is not None and not bool(allowed.any()):
            raise ValueError("mask and coalition leave no attackable feature; allow at least one")
        self._warn_if_coarse(x, allowed)

    def _warn_if_coarse(self, x: Tensor, allowed: Tensor | None) -> None:
        """Warn where a typical change is less than four units in the last place of x."""
        if self.epsilon == 0:
            return
        x, unit = x.detach(), 4 * torch.finfo(x.dtype).eps
        share = 1.0 if self.norm == "linf" else math.prod(x.shape[-self.budget_dims :]) ** -0.5
        radius = share * self._radius(x)
        peak = max(x.amax().item(), -x.amin().item())
        if not isinstance(radius, Tensor) and peak * unit <= radius:
            return
        ulps = x.abs() * unit
        coarse = ulps > radius if allowed is None else (ulps > radius) & (allowed > 0)
        if bool(coarse.any()):
            warnings.warn(
                f"epsilon={self.epsilon} is within a few units in the last place of x "
                f"({x.dtype}) on {float(coarse.to(torch.float32).mean()):.0%} of its entries: "
                "x + δ moves by less than ε there, or not at all. Use a finer dtype, or a policy "
                "of centred and scaled inputs",
                ResolutionWarning,
                stacklevel=4,
            )

    def _allowed(self, x: Tensor) -> Tensor | None:
        allowed = None
        if self.mask is not None:
            allowed = _expanded("mask", self.mask.to(x), x)
        if self.coalition is not None:
            held = _expanded("coalition", self.coalition.to(x).unsqueeze(-1), x)
            allowed = held if allowed is None else allowed * held
        return allowed

    def _scale(self, x: Tensor) -> Tensor | None:
        if self.scale is None:
            return None
        return _expanded("scale", self.scale.to(x.device, precision(x)), x)

    def _radius(self, x: Tensor) -> Tensor | float:
        """ε s, rounded down to x's precision."""
        if self.scale is None:
            return float_rounded_down(self.epsilon, x.dtype)
        radius = self.epsilon * self.scale.to(x.device, widest(x.device))
        return _expanded("scale", rounded_down(radius, x.dtype), x)

    def _faces(self, x: Tensor) -> tuple[Tensor | float | None, Tensor | float | None]:
        """Least and greatest valid input in x's dtype; None for no limit."""
        low = None if self.low is None else -_face("low", -self.low, x)
        return low, None if self.high is None else _face("high", self.high, x)

    def _check_scale(self) -> None:
        if self.scale is not None and not bool(((self.scale > 0) & self.scale.isfinite()).all()):
            raise ValueError(
                f"scale holds {self.scale.min():g}; give positive finite values, and protect "
                "features with mask"
            )

    def _check_box(self) -> None:
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        if _any(low != low) or _any(high != high):
            raise ValueError("low or high holds NaN; give numbers, or infinity for no bound")
        try:
            crossed = _any(low > high)
        except RuntimeError:
            raise ValueError(
                f"low of shape {_shape(low)} and high of shape {_shape(high)} do not "
                "broadcast; give both the shape of one sample"
            ) from None
        if crossed:
            raise ValueError(f"low={self.low} exceeds high={self.high} somewhere; swap them")


def _any(flags: Tensor | bool) -> bool:
    return bool(flags.any()) if isinstance(flags, Tensor) else flags


def _shape(value: Tensor | float) -> tuple[int, ...]:
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def _check_displacement(delta: Tensor, x: Tensor) -> None:
    check_same_shape("delta", delta, "x", x)
    check_finite("delta", delta)


def _face(name: str, value: Tensor | float, x: Tensor) -> Tensor | float:
    """The greatest number in x's dtype that is at most ``value``."""
    if isinstance(value, Tensor):
        return _expanded(name, rounded_down(value.to(x.device), x.dtype), x)
    return float_rounded_down(value, x.dtype)


def _expanded(name: str, value: Tensor, x: Tensor) -> Tensor:
    try:
        return value.expand_as(x)
    except RuntimeError:
        raise ValueError(
            f"{name} of shape {tuple(value.shape)} does not fit x of shape {tuple(x.shape)}; "
            "give a shape that broadcasts to one sample"
        ) from None
