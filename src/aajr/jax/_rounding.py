"""Rounding that never enlarges a perturbation: towards zero, down, or towards the clean input."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from aajr.jax._checks import is_array
from aajr.jax._functions import wide


def towards_zero(value: Array, dtype: Any) -> Array:
    """The value in another dtype, never larger in absolute value."""
    if value.dtype == dtype:
        return value
    near = _nearest(value, dtype)
    inside = near.astype(dtype)
    return jnp.where(jnp.abs(near) > jnp.abs(value), jnp.nextafter(inside, 0 * inside), inside)


def rounded_down(value: Array | float, dtype: Any) -> Array:
    """The largest number of ``dtype`` that is at most the value, which is not negative."""
    if is_array(value):
        return towards_zero(wide(jnp.asarray(value)), dtype)
    inside = np.asarray(value, dtype)
    return jnp.asarray(np.nextafter(inside, 0 * inside) if float(inside) > value else inside)


def moved(x: Array, delta: Array) -> Array:
    """x + δ in x's dtype, rounded towards x, so that no feature moves by more than ``|δ|``.

    The rounding error of the sum is computed exactly.

    Example:
        >>> x, delta = jnp.array([0.26], jnp.bfloat16), jnp.array([0.001])
        >>> bool((moved(x, delta) == x).all())  # the next number is 0.00195 away
        True

    Source: Knuth, The Art of Computer Programming, volume 2, section 4.2.2 (the error of a sum).
    """
    start, step = wide(x), wide(delta)
    total = start + step
    back = total - start
    error = (start - (total - back)) + (step - back)
    point = total if total.dtype == x.dtype else _nearest(total, x.dtype)
    beyond = jnp.sign(step) * ((point - total) - error) > 0
    point = point.astype(x.dtype)
    return jnp.where(beyond, jnp.nextafter(point, x), point)


def _nearest(value: Array, dtype: Any) -> Array:
    """The value rounded to another dtype's numbers; without the barrier XLA may skip both casts."""
    inside: Array = lax.optimization_barrier(value.astype(dtype))  # type: ignore[no-untyped-call]
    return inside.astype(value.dtype)
