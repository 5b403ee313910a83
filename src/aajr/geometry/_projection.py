"""Euclidean projections on rows ``[rows, features]``."""

from __future__ import annotations

import torch
from torch import Tensor

from aajr._vectors import length

_SAFE = (1e-15, 1e15)  # between them, squares neither under- nor overflow
_ITERATIONS = 64  # far more than rows need in practice; enough even for bisection alone


def project_sphere(y: Tensor, radius: Tensor | float) -> Tensor:
    """argmin_z ‖z - y‖ subject to ‖z‖₂ ≤ radius; y is ``[rows, features]``."""
    return y * (radius / length(y, (-1,))).clamp_max(1.0)


def project_sphere_in_box(y: Tensor, radius: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """argmin_z ‖z - y‖ subject to ‖z‖₂ ≤ ε and low ≤ z ≤ high, with low ≤ 0 ≤ high.

    The stationarity condition gives z_i = clip(t y_i, low_i, high_i) for one t in [0, 1] per row.
    In τ = t², ‖z‖² = Σ min(τ y_i², b_i²) with b the face that y points to. This is concave and
    piecewise linear, so the secant method rises from ‖z‖² = 0 to ε² without overshooting.

    Args:
        y: points to project, ``[rows, features]``.
        radius: ε, positive, ``[rows, 1]``.
        low: lower faces, at most 0, broadcastable to y.
        high: upper faces, at least 0, broadcastable to y.
    """
    size = length(y, (-1,))
    if _SAFE[0] < radius.amin().item() and size.amax().item() < _SAFE[1]:
        return _climbed(y, size, radius, low, high)
    unit = size.clamp_min(radius)  # squares neither over- nor underflow
    return unit * _climbed(y / unit, size / unit, radius / unit, low / unit, high / unit)


def _climbed(y: Tensor, size: Tensor, radius: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """clip(√τ y) of norm ``radius`` by the secant method, or of less at τ = 1; ``size`` is ‖y‖."""
    target, tau = radius.square(), (radius / size).square().clamp_max_(1.0)
    enough = target * (1 - _tolerance(y))
    before = before_inside = torch.zeros_like(size)
    for _ in range(_ITERATIONS):
        z = (tau.sqrt() * y).clamp_(low, high)
        norm = torch.linalg.vector_norm(z, dim=-1, keepdim=True)
        inside = norm.square()
        rise = inside - before_inside
        if bool(((inside >= enough) | (tau >= 1) | (rise <= 0)).all()):
            break
        step = torch.where(rise > 0, (target - inside) * (tau - before) / rise, 0.0)
        before, before_inside, tau = tau, inside, (tau + step.clamp_min(0)).clamp_max(1.0)
    return z.mul_((radius / norm).clamp_max_(1.0))


def project_ellipsoid_in_box(
    y: Tensor, radius: Tensor, scale: Tensor, low: Tensor, high: Tensor
) -> Tensor:
    """argmin_z ‖z - y‖ subject to ‖z/s‖₂ ≤ ε and low ≤ z ≤ high, with low ≤ 0 ≤ high.

    The stationarity condition gives z_i(μ) = clip(y_i / (1 + μ/s_i²), low_i, high_i) for a
    multiplier μ ≥ 0. n(μ) = ‖z(μ)/s‖ falls with μ and is at most ε at μ = ‖y s‖₂/ε. Newton's
    method on 1/n(μ) = 1/ε finds it, with bisection where it would leave the bracket.

    Args:
        y: points to project, ``[rows, features]``.
        radius: ε, positive, ``[rows, 1]``.
        scale: s, positive, broadcastable to y.
        low: lower faces, at most 0, broadcastable to y.
        high: upper faces, at least 0, broadcastable to y.

    Source: Moré and Sorensen, Computing a trust region step, 1983.
    """
    limit = (torch.where(y > 0, high, low) / scale).square()
    upper = length(y * scale, (-1,)) / radius
    lower = mu = torch.zeros_like(upper)
    for _ in range(_ITERATIONS):
        stiffness = scale.square() + mu
        square = (y * scale / stiffness).square()
        inside = torch.minimum(square, limit).sum(-1, keepdim=True)
        ratio = inside.sqrt() / radius
        lower, upper = torch.where(ratio > 1, mu, lower), torch.where(ratio > 1, upper, mu)
        if bool((((ratio - 1).abs() <= _tolerance(y)) | (upper <= lower)).all()):
            break
        slope = (square * (square < limit) / stiffness).sum(-1, keepdim=True)
        newton = mu + inside * (ratio - 1) / slope
        kept = (newton > lower) & (newton < upper)
        mu = torch.where(kept, newton, (lower + upper) / 2)
    z = torch.clamp(y * (scale.square() / (scale.square() + mu)), low, high)
    return project_sphere(z / scale, radius) * scale


def _tolerance(y: Tensor) -> float:
    return 32 * torch.finfo(y.dtype).eps
