"""A ball around given inputs, with all that does not depend on δ worked out once."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar, final

import torch
from torch import Tensor

from aajr._vectors import unit
from aajr.geometry._projection import (
    project_ellipsoid_in_box,
    project_sphere,
    project_sphere_in_box,
)
from aajr.geometry._rounding import inward

_Self = TypeVar("_Self", bound="Around")


@dataclass(frozen=True, eq=False)
class Around(ABC):
    """The set Δ around x. Every δ it gives keeps the ball's promises for fl(x + δ), exactly.

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
    """low ≤ δ ≤ high: an L∞ ball, the valid box and the mask in one.

    Attributes:
        low: least δ, in x's shape.
        high: greatest δ, in x's shape.
    """

    low: Tensor
    high: Tensor

    def project(self, delta: Tensor) -> Tensor:
        """The nearest point of the set."""
        return delta.to(self.low.dtype).clamp(self.low, self.high)

    def project_scaled(self, delta: Tensor) -> Tensor:
        """The same as :meth:`project`."""
        return self.project(delta)

    def sample(self, generator: torch.Generator) -> Tensor:
        """δ uniform in the box."""
        x = self.x
        uniform = torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        return self.project(self.low + (self.high - self.low) * uniform)

    def steepest(self, gradient: Tensor) -> Tensor:
        """s·sign(g)."""
        return self.signs(gradient)


@final
@dataclass(frozen=True, eq=False)
class AroundEllipsoid(Around):
    """‖δ/s‖₂ ≤ ε and low ≤ δ ≤ high.

    Attributes:
        epsilon: ε, less what the arithmetic rounds.
        low: least valid δ, in x's shape; None for no valid box.
        high: greatest valid δ, in x's shape; None with ``low``.
        lost: what the addition x + δ may round, in x's shape.
    """

    epsilon: float
    low: Tensor | None
    high: Tensor | None
    lost: Tensor

    def project(self, delta: Tensor) -> Tensor:
        """The nearest point of the set."""
        if self.scale is None:
            return self.project_scaled(delta)
        delta = self.masked(delta.to(precision(self.x)))
        faces = (torch.full_like(delta, -math.inf), torch.full_like(delta, math.inf))
        if self.low is not None and self.high is not None:
            faces = (self.low, self.high)
        flat = (self._flat(part) for part in (self.scale, *faces))
        return self._settled(project_ellipsoid_in_box(self._flat(delta), self.epsilon, *flat))

    def project_scaled(self, delta: Tensor) -> Tensor:
        """The nearest point of the set in the norm ‖·/s‖₂."""
        delta = self._in_units(self.masked(delta.to(precision(self.x))))
        if self.low is None or self.high is None:
            z = project_sphere(self._flat(delta), self.epsilon)
        else:
            faces = (self._flat(self._in_units(part)) for part in (self.low, self.high))
            z = project_sphere_in_box(self._flat(delta), self.epsilon, *faces)
        z = z.reshape(delta.shape)
        return self._settled(z if self.scale is None else z * self.scale)

    def sample(self, generator: torch.Generator) -> Tensor:
        """δ uniform in the ellipsoid, then projected on the box."""
        x, dtype = self.x, precision(self.x)
        noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=dtype)
        direction = unit(self.masked(noise), self._dims)
        rows = x.shape[: -self.budget_dims].numel()
        uniform = torch.rand((rows,), generator=generator, device=x.device, dtype=dtype)
        radius = self.epsilon * uniform ** (1 / self._free())
        delta = (self._flat(direction) * radius.unsqueeze(-1)).reshape(x.shape)
        return self.project(delta if self.scale is None else delta * self.scale)

    def steepest(self, gradient: Tensor) -> Tensor:
        """s²g/‖sg‖₂."""
        return steepest_on_ellipsoid(gradient, self.scale, self._dims)

    @property
    def _dims(self) -> tuple[int, ...]:
        return tuple(range(-self.budget_dims, 0))

    def _free(self) -> Tensor | int:
        """Attackable features per budget."""
        if self.allowed is None:
            return math.prod(self.x.shape[-self.budget_dims :])
        return self._flat(self.allowed).sum(-1).clamp_min(1)

    def _in_units(self, value: Tensor) -> Tensor:
        return value if self.scale is None else value / self.scale

    def _flat(self, value: Tensor) -> Tensor:
        return value.reshape(-1, math.prod(value.shape[-self.budget_dims :]))

    def _settled(self, z: Tensor) -> Tensor:
        z = inward(z.reshape(self.x.shape), self.lost)
        return z if self.low is None else z.clamp_(self.low, self.high)


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
