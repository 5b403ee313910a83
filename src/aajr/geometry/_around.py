"""A ball around given inputs; everything that does not depend on δ is computed once."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, TypeVar, final

import torch
from torch import Tensor

from aajr._vectors import unit
from aajr.geometry._projection import (
    project_ellipsoid_in_box,
    project_sphere,
    project_sphere_in_box,
)
from aajr.geometry._rounding import gap_to_face, moved_inward

_Self = TypeVar("_Self", bound="Around")


@dataclass(frozen=True, eq=False)
class Around(ABC):
    """The set Δ around x. For every δ returned, the rounded sum fl(x + δ) is exactly in x + Δ.

    Attributes:
        x: clean inputs, ``[batch, *event]``.
        allowed: 1 where the adversary may act and 0 elsewhere, in x's shape; None for everywhere.
        scale: s in x's shape; None for ones.
        budget_dims: trailing dimensions that share one budget.
    """

    x: Tensor
    allowed: Tensor | None
    scale: Tensor | None
    budget_dims: int

    @abstractmethod
    def project(self, delta: Tensor) -> Tensor:
        """The nearest point of the set, ``[batch, *event]``."""

    @abstractmethod
    def project_scaled(self, delta: Tensor) -> Tensor:
        """The nearest point of the set in the norm ‖·/s‖₂, ``[batch, *event]``."""

    @abstractmethod
    def sample(self, generator: torch.Generator) -> Tensor:
        """δ uniform in the set, ``[batch, *event]``."""

    @abstractmethod
    def steepest(self, gradient: Tensor) -> Tensor:
        """argmax_d ⟨g, d⟩ subject to ‖d/s‖_p ≤ 1; zero stays zero."""

    def place(self, delta: Tensor) -> Tensor:
        """The point x + δ for a δ of the set, ``[batch, *event]``."""
        return self.x + delta

    def random(self, generator: torch.Generator) -> Tensor:
        """A point x + δ with δ uniform in the set, ``[batch, *event]``."""
        return self.place(self.sample(generator))

    def moved(self, point: Tensor, step: Tensor, size: Tensor | float, scaled: bool) -> Tensor:
        """The point of x + Δ nearest to ``point + size · step``, ``[batch, *event]``.

        Args:
            point: where the step starts.
            step: the step before scaling by ``size``, in the shape of x.
            size: factor of the step, broadcastable to x.
            scaled: whether nearest is meant in the norm ‖·/s‖₂ instead of ‖·‖₂.
        """
        delta = stepped(point - self.x, step, size)
        return self.place(self.project_scaled(delta) if scaled else self.project(delta))

    def signs(self, gradient: Tensor) -> Tensor:
        """s·sign(g)."""
        return scaled_signs(gradient, self.scale)

    def masked(self, value: Tensor) -> Tensor:
        """The value where the adversary may act, and 0 elsewhere."""
        return value if self.allowed is None else value * self.allowed

    def rows(self: _Self, index: Tensor) -> _Self:
        """The sets around the chosen samples; ``index`` is ``[chosen]``."""
        values = {part.name: getattr(self, part.name) for part in fields(self)}
        chosen: dict[str, Any] = {n: v[index] for n, v in values.items() if isinstance(v, Tensor)}
        return replace(self, **chosen)


@final
@dataclass(frozen=True, eq=False)
class AroundBox(Around):
    """An L∞ ball with its valid box and mask: -far ≤ δ ≤ far and least ≤ x + δ ≤ greatest.

    Attributes:
        far: greatest ``|δ|`` per feature, in x's shape.
        least: least valid input, in x's dtype and broadcastable to it; an x below it stays valid.
        greatest: greatest valid input, likewise.
    """

    far: Tensor
    least: Tensor | float | None
    greatest: Tensor | float | None

    @cached_property
    def low(self) -> Tensor:
        """Least δ, in x's shape."""
        low = -self.far
        return low if self.least is None else torch.maximum(low, -gap_to_face(-self.x, -self.least))

    @cached_property
    def high(self) -> Tensor:
        """Greatest δ, in x's shape."""
        if self.greatest is None:
            return self.far
        return torch.minimum(self.far, gap_to_face(self.x, self.greatest))

    @cached_property
    def corners(self) -> tuple[Tensor, Tensor]:
        """Least and greatest points of x + Δ, both in x's shape."""
        low, high = self.x - self.far, self.x + self.far
        if self.least is not None:
            torch.maximum(low, self.x.clamp_max(self.least), out=low)
        if self.greatest is not None:
            torch.minimum(high, self.x.clamp_min(self.greatest), out=high)
        return low, high

    def project(self, delta: Tensor) -> Tensor:
        """The nearest point of the set."""
        return delta.to(self.x.dtype).clamp(self.low, self.high)

    def project_scaled(self, delta: Tensor) -> Tensor:
        """The same as :meth:`project`."""
        return self.project(delta)

    def sample(self, generator: torch.Generator) -> Tensor:
        """δ uniform in the box."""
        return torch.lerp(self.low, self.high, self._uniform(generator))

    def random(self, generator: torch.Generator) -> Tensor:
        """A point uniform in the box."""
        return torch.lerp(*self.corners, self._uniform(generator))

    def moved(self, point: Tensor, step: Tensor, size: Tensor | float, scaled: bool) -> Tensor:
        """The point of x + Δ nearest to ``point + size · step``."""
        return stepped(point, step, size).to(self.x.dtype).clamp_(*self.corners)

    def steepest(self, gradient: Tensor) -> Tensor:
        """s·sign(g)."""
        return self.signs(gradient)

    def _uniform(self, generator: torch.Generator) -> Tensor:
        x = self.x
        return torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)


@final
@dataclass(frozen=True, eq=False)
class AroundEllipsoid(Around):
    """‖δ/s‖₂ ≤ ε and least ≤ x + δ ≤ greatest.

    Attributes:
        radius: ε of every budget minus its rounding error, ``[budgets, 1]``.
        lost: bound on the rounding error of x + δ where ``radius`` does not allow for it, and 0
            elsewhere, in x's shape; None if it is 0 everywhere.
        least: least valid input, in x's dtype and broadcastable to it; an x below it stays valid.
        greatest: greatest valid input, likewise.
    """

    radius: Tensor
    lost: Tensor | None
    least: Tensor | float | None
    greatest: Tensor | float | None

    @cached_property
    def faces(self) -> tuple[Tensor, Tensor] | None:
        """Least and greatest valid δ, in x's shape; None for no valid box."""
        if self.least is None and self.greatest is None:
            return None
        end = torch.full_like(self.x, math.inf)
        return (
            -end if self.least is None else -gap_to_face(-self.x, -self.least),
            end if self.greatest is None else gap_to_face(self.x, self.greatest),
        )

    def project(self, delta: Tensor) -> Tensor:
        """The nearest point of the set."""
        if self.scale is None:
            return self.project_scaled(delta)
        delta = self.masked(delta.to(precision(self.x)))
        endless = (torch.full_like(delta, -math.inf), torch.full_like(delta, math.inf))
        flat = (self._flat(part) for part in (self.scale, *(self.faces or endless)))
        return self._settled(project_ellipsoid_in_box(self._flat(delta), self.radius, *flat))

    def project_scaled(self, delta: Tensor) -> Tensor:
        """The nearest point of the set in the norm ‖·/s‖₂."""
        delta = self._flat(self._in_units(self.masked(delta.to(precision(self.x)))))
        if self.faces is None:
            z = project_sphere(delta, self.radius)
        else:
            faces = (self._flat(self._in_units(part)) for part in self.faces)
            z = project_sphere_in_box(delta, self.radius, *faces)
        return self._settled(z if self.scale is None else z * self._flat(self.scale))

    def sample(self, generator: torch.Generator) -> Tensor:
        """δ uniform in the ellipsoid, then projected on the box."""
        x, dtype = self.x, precision(self.x)
        noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=dtype)
        direction = unit(self.masked(noise), self._dims)
        uniform = torch.rand((len(self.radius),), generator=generator, device=x.device, dtype=dtype)
        reach = self.radius * (uniform ** (1 / self._free())).unsqueeze(-1)
        z = self._flat(direction).mul_(reach)
        delta = self._settled(z if self.scale is None else z * self._flat(self.scale))
        return delta if self.faces is None else delta.clamp_(*self.faces)

    def steepest(self, gradient: Tensor) -> Tensor:
        """s²g/‖sg‖₂."""
        return steepest_on_ellipsoid(gradient, self.scale, self._dims)

    @property
    def _dims(self) -> tuple[int, ...]:
        return tuple(range(-self.budget_dims, 0))

    def _free(self) -> Tensor | int:
        """Number of attackable features per budget."""
        if self.allowed is None:
            return math.prod(self.x.shape[-self.budget_dims :])
        return self._flat(self.allowed).sum(-1).clamp_min(1)

    def _in_units(self, value: Tensor) -> Tensor:
        return value if self.scale is None else value / self.scale

    def _flat(self, value: Tensor) -> Tensor:
        return value.reshape(-1, math.prod(value.shape[-self.budget_dims :]))

    def _settled(self, delta: Tensor) -> Tensor:
        """δ rounded so that x + δ stays in x + Δ."""
        delta = delta.reshape(self.x.shape)
        if self.scale is not None and self.faces is not None:
            delta = delta.clamp_(*self.faces)  # in float arithmetic s (z/s) may exceed z by an ulp
        if self.lost is not None:
            delta = torch.where(self.lost > 0, moved_inward(delta, self.lost), delta)
        return delta.to(self.x.dtype)


def stepped(point: Tensor, step: Tensor, size: Tensor | float) -> Tensor:
    """point + size · step."""
    if isinstance(size, float):
        return torch.add(point, step, alpha=size)
    return point + size * step


def precision(x: Tensor) -> torch.dtype:
    """The dtype to compute in: float32 for half-precision inputs, whose squares overflow."""
    return torch.promote_types(x.dtype, torch.float32)


def scaled_signs(gradient: Tensor, scale: Tensor | None) -> Tensor:
    """s·sign(g)."""
    return gradient.sign() if scale is None else (scale * gradient.sign()).to(gradient.dtype)


def steepest_on_ellipsoid(gradient: Tensor, scale: Tensor | None, dims: tuple[int, ...]) -> Tensor:
    """argmax_d ⟨g, d⟩ subject to ‖d/s‖₂ ≤ 1, s²g/‖sg‖₂; zero stays zero."""
    direction = unit(gradient, dims)
    if scale is None:
        return direction
    return (scale * unit(scale * direction, dims)).to(gradient.dtype)
