"""Two balls of one norm intersected: what is near the last perturbation and in the budget."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import final

import torch
from torch import Tensor

from aajr._vectors import length, unit
from aajr.geometry._ball import Ball
from aajr.geometry._projection import project_box, project_sphere

_SLACK = 1e-6


@final
@dataclass(frozen=True, eq=False)
class Lens(Ball):
    """Δ ∩ {δ : ‖(δ - c)/s‖_p ≤ r}, for a ball Δ and c in Δ.

    It is a :class:`Ball` with a narrower projection, so that every solver works in it.

    Attributes:
        centre: c, ``[batch, *event]`` in the set Δ around x.
        radius: r for every sample, ``[batch]`` or a scalar, in units of ``scale``.

    Example:
        >>> import torch
        >>> lens = Lens("linf", 0.5, centre=torch.tensor([[0.4, 0.0]]), radius=torch.tensor(0.2))
        >>> lens.project(torch.tensor([[0.9, -0.9]]), torch.zeros(1, 2))
        tensor([[ 0.5000, -0.2000]])
    """

    centre: Tensor = field(default_factory=lambda: torch.zeros(()))
    radius: Tensor = field(default_factory=lambda: torch.zeros(()))

    @torch.no_grad()
    def project(self, delta: Tensor, x: Tensor) -> Tensor:
        """The nearest point of the set around x in the norm ‖·/s‖₂; both ``[batch, *event]``.

        In an l2 ball that a valid box cuts, the nearest point of the lens is projected on the box
        as well. That point is in all three, though not the nearest: a projection on a convex set
        brings no point further from c, which is in it.
        """
        return self._ball().project_scaled(self._near(delta), x)

    def project_scaled(self, delta: Tensor, x: Tensor) -> Tensor:
        """The same as :meth:`project`."""
        return self.project(delta, x)

    @torch.no_grad()
    def sample(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """A uniform draw from the ball, projected: ``[batch, *event]``."""
        return self.project(self._ball().sample(x, generator), x)

    def _ball(self) -> Ball:
        return Ball(**{part.name: getattr(self, part.name) for part in fields(Ball)})

    def _near(self, delta: Tensor) -> Tensor:
        copies = delta.shape[0] // self.centre.shape[0]
        centre = self.centre.repeat(copies, *[1] * (delta.ndim - 1))
        radius = self.radius.to(delta).expand(self.centre.shape[0]).repeat(copies)
        radius = radius.reshape(-1, *[1] * (delta.ndim - 1))
        scale = self._scale(delta)
        if self.norm == "linf":
            return project_box(delta, centre - radius * scale, centre + radius * scale)
        radius = radius.expand(*delta.shape[: -self.budget_dims], *[1] * self.budget_dims)
        flat = (self._flat(delta / scale), self.epsilon, self._flat(centre / scale))
        near = project_two_spheres(*flat, radius.reshape(-1, 1))
        return near.reshape(delta.shape) * scale


def project_two_spheres(y: Tensor, epsilon: float, centre: Tensor, radius: Tensor) -> Tensor:
    """argmin_z ‖z - y‖ subject to ‖z‖ ≤ ε and ‖z - c‖ ≤ r, with ‖c‖ ≤ ε.

    Either the projection on one of the balls is in the other, or z lies where the spheres meet:
    z = t ĉ + √(ε² - t²) ŵ with t = (‖c‖² + ε² - r²)/(2‖c‖) and ŵ the part of y across ĉ.

    Args:
        y: points to project, ``[rows, features]``.
        epsilon: ε.
        centre: c, ``[rows, features]``.
        radius: r, ``[rows, 1]``.
    """
    first = project_sphere(y, epsilon)
    second = centre + project_sphere(y - centre, radius)
    distance = length(centre, (-1,))
    tiny = torch.finfo(y.dtype).tiny
    along = (distance.square() + epsilon**2 - radius.square()) / (2 * distance.clamp_min(tiny))
    along = torch.minimum(along, torch.full_like(along, epsilon))
    axis = unit(centre, (-1,))
    across = unit(y - (y * axis).sum(-1, keepdim=True) * axis, (-1,))
    rim = along * axis + (epsilon**2 - along.square()).clamp_min(0).sqrt() * across
    in_second = length(first - centre, (-1,)) <= radius * (1 + _SLACK)
    in_first = length(second, (-1,)) <= epsilon * (1 + _SLACK)
    return torch.where(in_second, first, torch.where(in_first, second, rim))
