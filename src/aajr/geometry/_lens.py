"""The intersection of two balls of one norm: near the last perturbation and in the budget."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import final

import torch
from torch import Tensor

from aajr._shared import Norm
from aajr._vectors import length, unit
from aajr.geometry._around import Around
from aajr.geometry._ball import Ball
from aajr.geometry._projection import project_sphere

_SLACK = 1e-6


@final
@dataclass(frozen=True, eq=False)
class Lens(Ball):
    """Δ ∩ {δ : ‖(δ - c)/s‖_p ≤ r}, for a ball Δ and c in Δ.

    It is a :class:`Ball` that projects on the smaller set, so every solver works in it.

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
    def around(self, x: Tensor) -> Around:
        """The lens around x ``[batch, *event]``, or around copies of it one after another."""
        ball = Ball(**{part.name: getattr(self, part.name) for part in fields(Ball)}).around(x)
        copies = x.shape[0] // self.centre.shape[0]
        centre = self.centre.repeat(copies, *[1] * (x.ndim - 1))
        radius = self.radius.to(x).expand(self.centre.shape[0]).repeat(copies)
        radius = radius.reshape(-1, *[1] * (x.ndim - 1))
        common = (ball.x, ball.allowed, ball.scale, ball.budget_dims)
        return AroundLens(*common, ball, self.norm, self.epsilon, centre, radius)


@final
@dataclass(frozen=True, eq=False)
class AroundLens(Around):
    """The points of a ball at a distance of at most r from c.

    Attributes:
        ball: the ball around x.
        norm: norm of the ball and of the distance from c.
        epsilon: radius of the ball.
        centre: c, in x's shape.
        radius: r, broadcastable to x.
    """

    ball: Around
    norm: Norm
    epsilon: float
    centre: Tensor
    radius: Tensor

    def project(self, delta: Tensor) -> Tensor:
        """The nearest point of the set in the norm ‖·/s‖₂.

        In an l2 ball with a valid box, the nearest point of the lens is then projected on the ball
        with its box. The result is in all sets but may not be the nearest point: c is in the ball,
        and a projection on a convex set that contains c does not move a point further from c.
        """
        return self.ball.project_scaled(self._near(delta))

    def project_scaled(self, delta: Tensor) -> Tensor:
        """The same as :meth:`project`."""
        return self.project(delta)

    def sample(self, generator: torch.Generator) -> Tensor:
        """A uniform draw from the ball, projected on the lens."""
        return self.project(self.ball.sample(generator))

    def steepest(self, gradient: Tensor) -> Tensor:
        """The steepest direction of the ball."""
        return self.ball.steepest(gradient)

    def rows(self, index: Tensor) -> AroundLens:
        """The sets around the chosen samples."""
        return replace(super().rows(index), ball=self.ball.rows(index))

    def _near(self, delta: Tensor) -> Tensor:
        scale = 1.0 if self.scale is None else self.scale
        if self.norm == "linf":
            reach = self.radius * scale
            return delta.clamp(self.centre - reach, self.centre + reach)
        dims = self.budget_dims
        radius = self.radius.expand(*delta.shape[:-dims], *[1] * dims)
        size = math.prod(delta.shape[-dims:])
        y, centre = ((part / scale).reshape(-1, size) for part in (delta, self.centre))
        near = project_two_spheres(y, self.epsilon, centre, radius.reshape(-1, 1))
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
