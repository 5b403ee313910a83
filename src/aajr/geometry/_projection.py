"""Euclidean projections on rows ``[rows, features]``."""

from __future__ import annotations

import torch
from torch import Tensor

from aajr._vectors import length

_SAFE = (1e-15, 1e15)  # between them, squares neither under- nor overflow
_ITERATIONS = 64  # far more than any row was seen to need: bisection alone would do


def project_sphere(y: Tensor, radius: Tensor | float) -> Tensor:
    """argmin_z ‖z - y‖ subject to ‖z‖₂ ≤ radius; y is ``[rows, features]``."""
    return y * (radius / length(y, (-1,))).clamp_max(1.0)


def project_sphere_in_box(y: Tensor, epsilon: float, low: Tensor, high: Tensor) -> Tensor:
    """argmin_z ‖z - y‖ subject to ‖z‖₂ ≤ ε and low ≤ z ≤ high, with low ≤ 0 ≤ high.

    The stationarity condition gives z_i = clip(t y_i, low_i, high_i) for one t in [0, 1] per row.
    In τ = t², ‖z‖² = Σ min(τ y_i², b_i²) with b the face that y points to: concave and piecewise
    linear, so that the secant method climbs from τ = 0 to ε² without passing it.

    Args:
        y: points to project, ``[rows, features]``.
        epsilon: radius, positive.
        low: lower faces, at most 0, broadcastable to y.
        high: upper faces, at least 0, broadcastable to y.
    """
    z = y.clamp(low, high)
    outside = ~(torch.linalg.vector_norm(z, dim=-1) <= epsilon)
    if not bool(outside.any()):
        return z
    if bool(outside.all()):
        return _on_sphere(y, epsilon, low, high)
    rows = outside.nonzero()[:, 0]
    faces = (face.expand_as(y)[rows] for face in (low, high))
    return z.index_copy(0, rows, _on_sphere(y[rows], epsilon, *faces))


def _on_sphere(y: Tensor, epsilon: float, low: Tensor, high: Tensor) -> Tensor:
    """The projection of rows whose nearest point of the box lies outside of the sphere."""
    size = length(y, (-1,))
    if _SAFE[0] < epsilon and size.amax().item() < _SAFE[1]:
        return project_sphere(_climbed(y, size, y.new_full((), epsilon), low, high), epsilon)
    unit = size.clamp_min(epsilon)  # squares neither over- nor underflow
    z = _climbed(y / unit, size / unit, epsilon / unit, low / unit, high / unit)
    return project_sphere(z * unit, epsilon)


def _climbed(y: Tensor, size: Tensor, radius: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """clip(√τ y) of norm ``radius``, by the secant method; ``size`` is ‖y‖."""
    target, tau = radius.square(), (radius / size).square().clamp_max(1.0)
    before = before_inside = torch.zeros_like(size)
    for _ in range(_ITERATIONS):
        z = (tau.sqrt() * y).clamp_(low, high)
        inside = torch.linalg.vector_norm(z, dim=-1, keepdim=True).square()
        rise = inside - before_inside
        if bool(((inside >= target * (1 - _tolerance(y))) | (rise <= 0)).all()):
            break
        step = torch.where(rise > 0, (target - inside) * (tau - before) / rise, 0.0)
        before, before_inside, tau = tau, inside, (tau + step.clamp_min(0)).clamp_max(1.0)
    return z


def project_ellipsoid_in_box(
    y: Tensor, epsilon: float, scale: Tensor, low: Tensor, high: Tensor
) -> Tensor:
    """argmin_z ‖z - y‖ subject to ‖z/s‖₂ ≤ ε and low ≤ z ≤ high, with low ≤ 0 ≤ high.

    The stationarity condition gives z_i(μ) = clip(y_i / (1 + μ/s_i²), low_i, high_i) for a
    multiplier μ ≥ 0. n(μ) = ‖z(μ)/s‖ falls with μ and is at most ε at μ = ‖y s‖₂/ε. Newton's
    method on 1/n(μ) = 1/ε finds it, with bisection where it would leave the bracket.

    Args:
        y: points to project, ``[rows, features]``.
        epsilon: radius, positive.
        scale: s, positive, broadcastable to y.
        low: lower faces, at most 0, broadcastable to y.
        high: upper faces, at least 0, broadcastable to y.

    Source: Moré and Sorensen, Computing a trust region step, 1983.
    """
    limit = (torch.where(y > 0, high, low) / scale).square()
    upper = length(y * scale, (-1,)) / epsilon
    lower = mu = torch.zeros_like(upper)
    for _ in range(_ITERATIONS):
        stiffness = scale.square() + mu
        square = (y * scale / stiffness).square()
        inside = torch.minimum(square, limit).sum(-1, keepdim=True)
        ratio = inside.sqrt() / epsilon
        lower, upper = torch.where(ratio > 1, mu, lower), torch.where(ratio > 1, upper, mu)
        if bool((((ratio - 1).abs() <= _tolerance(y)) | (upper <= lower)).all()):
            break
        slope = (square * (square < limit) / stiffness).sum(-1, keepdim=True)
        newton = mu + inside * (ratio - 1) / slope
        kept = (newton > lower) & (newton < upper)
        mu = torch.where(kept, newton, (lower + upper) / 2)
    z = torch.clamp(y * (scale.square() / (scale.square() + mu)), low, high)
    return project_sphere(z / scale, epsilon) * scale


def _tolerance(y: Tensor) -> float:
    return 32 * torch.finfo(y.dtype).eps
