"""Euclidean projections on rows ``[rows, features]``."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax

from aajr.jax._functions import length


def project_sphere(y: Array, radius: Array | float) -> Array:
    """argmin_z ‖z - y‖ subject to ‖z‖₂ ≤ radius; y is ``[rows, features]``."""
    norm = length(y, (-1,))
    outside = norm > radius
    return y * jnp.where(outside, radius / jnp.where(outside, norm, 1.0), 1.0)


def project_ellipsoid_in_box(
    y: Array, epsilon: Array | float, scale: Array, low: Array, high: Array
) -> Array:
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

    def candidate(multiplier: Array) -> Array:
        return jnp.clip(y * (scale**2 / (scale**2 + multiplier)), low, high)

    def inside(z: Array) -> Array:
        return jnp.sqrt(jnp.square(z / scale).sum(-1, keepdims=True)) <= epsilon

    def bisect(_: int, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        lower, upper = bounds
        middle = (lower + upper) / 2
        feasible = inside(candidate(middle))
        return jnp.where(feasible, lower, middle), jnp.where(feasible, middle, upper)

    upper = length(y * scale, (-1,)) / epsilon
    halvings = 100 if y.dtype == jnp.float64 else 64
    _, upper = lax.fori_loop(0, halvings, bisect, (jnp.zeros_like(upper), upper))
    unconstrained = candidate(jnp.zeros_like(upper))
    return jnp.where(inside(unconstrained), unconstrained, candidate(upper))
