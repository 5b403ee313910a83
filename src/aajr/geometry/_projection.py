"""Euclidean projections on rows ``[rows, features]``."""

from __future__ import annotations

import torch
from torch import Tensor

from aajr._vectors import length


def project_box(y: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """argmin_z ‖z - y‖ subject to low ≤ z ≤ high; all ``[rows, features]``."""
    return torch.minimum(torch.maximum(y, low), high)


def project_sphere(y: Tensor, radius: Tensor | float) -> Tensor:
    """argmin_z ‖z - y‖ subject to ‖z‖₂ ≤ radius; y is ``[rows, features]``."""
    return y * (radius / length(y, (-1,))).clamp_max(1.0)


def project_ellipsoid_in_box(
    y: Tensor, epsilon: float, scale: Tensor, low: Tensor, high: Tensor
) -> Tensor:
    """argmin_z ‖z - y‖ subject to ‖z/s‖₂ ≤ ε and low ≤ z ≤ high, with low ≤ 0 ≤ high.

    The stationarity condition gives z_i(μ) = clip(y_i / (1 + μ/s_i²), low_i, high_i) for a
    multiplier μ ≥ 0. ‖z(μ)/s‖ falls with μ and is at most ε at μ = ‖y s‖₂/ε, so bisection finds
    it. The upper end is returned: it is feasible.

    Args:
        y: points to project, ``[rows, features]``.
        epsilon: radius, positive.
        scale: s, positive, broadcastable to y.
        low: lower faces, at most 0, broadcastable to y.
        high: upper faces, at least 0, broadcastable to y.
    """

    def candidate(multiplier: Tensor) -> Tensor:
        return project_box(y * (scale**2 / (scale**2 + multiplier)), low, high)

    def inside(z: Tensor) -> Tensor:
        return torch.linalg.vector_norm(z / scale, dim=-1, keepdim=True) <= epsilon

    upper = length(y * scale, (-1,)) / epsilon
    lower = torch.zeros_like(upper)
    for _ in range(100 if y.dtype == torch.float64 else 64):
        middle = (lower + upper) / 2
        feasible = inside(candidate(middle))
        upper = torch.where(feasible, middle, upper)
        lower = torch.where(feasible, lower, middle)
    unconstrained = candidate(torch.zeros_like(upper))
    return torch.where(inside(unconstrained), unconstrained, candidate(upper))
