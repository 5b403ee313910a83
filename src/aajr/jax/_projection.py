"""Euclidean projections on rows ``[rows, features]``, in float32 at least."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from aajr.jax._functions import length, limits

_ROUNDS = 100


def project_sphere(y: Array, radius: Array | float) -> Array:
    """argmin_z ‖z - y‖ subject to ‖z‖₂ ≤ radius; y is ``[rows, features]``."""
    return _shortened(y, radius * (1 - _rounding(y)))


def project_ellipsoid_in_box(
    y: Array, epsilon: Array | float, scale: Array, low: Array, high: Array
) -> Array:
    """argmin_z ‖z - y‖ subject to ‖z/s‖₂ ≤ ε and low ≤ z ≤ high, with low ≤ 0 ≤ high; a constant.

    The stationarity condition gives z_i(μ) = clip(y_i / (1 + μ/s_i²), low_i, high_i) for a
    multiplier μ ≥ 0. ‖z(μ)/s‖ falls with μ and is at most ε at μ = ‖y s‖₂/ε. Newton's method runs
    on 1/‖·‖ of the coordinates that are on no face. It is exact in one step where s = 1 and the
    active faces stay the same. Where it would leave the bracket, the bracket is halved. At the end
    the point is shortened to be feasible; it stays in the box, which contains 0.

    Args:
        y: points to project, ``[rows, features]``.
        epsilon: radius, positive.
        scale: s, positive, broadcastable to y.
        low: lower faces, at most 0, broadcastable to y.
        high: upper faces, at least 0, broadcastable to y.

    Source: Conn, Gould and Toint, Trust-region methods, 2000, section 7.3 (the secular equation).
    """
    y, epsilon, scale, low, high = lax.stop_gradient((y, epsilon, scale, low, high))
    rounding = _rounding(y)
    problem = _Problem(y / scale, scale, low / scale, high / scale, epsilon * (1 - rounding))
    upper = length(y * scale, (-1,)) / epsilon
    outside = length(problem.point(jnp.zeros_like(upper)), (-1,)) > problem.radius
    start = _Search(jnp.zeros_like(upper), upper, jnp.where(outside, upper, 0.0), outside, 0)

    def unfinished(search: _Search) -> Array:
        return search.pending.any() & (search.rounds < _ROUNDS)

    def advance(search: _Search) -> _Search:
        return problem.advance(search, 2 * rounding)

    multiplier = lax.while_loop(unfinished, advance, start).multiplier
    return jnp.clip(_shortened(problem.point(multiplier), problem.radius) * scale, low, high)


class _Search(NamedTuple):
    """A bracket of the multipliers ``[rows, 1]``, and which rows are not finished."""

    lower: Array
    upper: Array
    multiplier: Array
    pending: Array
    rounds: int | Array


class _Problem(NamedTuple):
    """The projection in units of the scale: all ``[rows, features]`` but the radius."""

    y: Array
    scale: Array
    low: Array
    high: Array
    radius: Array | float

    def point(self, multiplier: Array) -> Array:
        """z(μ)/s."""
        return jnp.clip(self.y / (1 + multiplier / self.scale**2), self.low, self.high)

    def advance(self, search: _Search, tolerance: float) -> _Search:
        """One step of the rows that are not finished."""
        lower, upper, multiplier, pending, rounds = search
        z = self.point(multiplier)
        square = jnp.square(z)
        free = jnp.where((z > self.low) & (z < self.high), square, 0.0)
        size, movable = (value.sum(-1, keepdims=True) for value in (square, free))
        slope = (free / (self.scale**2 + multiplier)).sum(-1, keepdims=True)
        feasible = size <= self.radius**2
        lower = jnp.where(feasible, lower, multiplier)
        upper = jnp.where(feasible, multiplier, upper)
        room = self.radius**2 - (size - movable)
        known = (room > 0) & (slope > 0)
        ratio = jnp.sqrt(movable / jnp.where(known, room, 1.0))
        newton = multiplier + (ratio - 1) * movable / jnp.where(known, slope, 1.0)
        usable = known & (newton > lower) & (newton < upper)
        after = jnp.where(usable, newton, (lower + upper) / 2)
        pending &= jnp.abs(jnp.sqrt(size) - self.radius) > tolerance * self.radius
        return _Search(lower, upper, jnp.where(pending, after, multiplier), pending, rounds + 1)


def _shortened(y: Array, radius: Array | float) -> Array:
    norm = length(y, (-1,))
    outside = norm > radius
    return y * jnp.where(outside, radius / jnp.where(outside, norm, 1.0), 1.0)


def _rounding(y: Array) -> float:
    """The greatest relative error of a computed length."""
    return float(limits(y).eps) * (4 + y.shape[-1] ** 0.5)
