"""Functions with constant closures, and norms that neither underflow nor overflow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import Array, lax

Policy = Callable[[Array], Array]
"""Any differentiable map from inputs ``[batch, ...]`` to outputs ``[batch, ...]``."""

Result = TypeVar("Result")


def with_constant_closure(
    function: Callable[[Array], Result], example: Array
) -> Callable[[Array], Result]:
    """``function`` with the parameters it closes over held constant.

    Stopping the gradient of the result gives the same values, but JAX would first compute
    derivatives through the inner loop and then drop them.

    Args:
        function: a function of one array.
        example: an argument; the result accepts only arrays of this shape and dtype.

    Returns:
        The function; its argument stays differentiable.

    Example:
        >>> import jax
        >>> jax.grad(lambda w: with_constant_closure(lambda x: w * x, 2.0)(2.0) + w)(3.0)
        Array(1., dtype=float32, weak_type=True)
    """
    converted, constants = jax.closure_convert(function, example)
    constants = [lax.stop_gradient(constant) for constant in constants]
    return lambda argument: converted(argument, *constants)


def length(value: Array, dims: tuple[int, ...]) -> Array:
    """‖value‖₂ over ``dims``, which become ones; the largest entry is divided out first."""
    peak = _peak(value, dims)
    return peak * jnp.sqrt(jnp.square(value / peak).sum(dims, keepdims=True))


def unit(value: Array, dims: tuple[int, ...]) -> Array:
    """``value / ‖value‖₂`` over ``dims``; zero stays zero."""
    scaled = value / _peak(value, dims)
    norm = jnp.sqrt(jnp.square(scaled).sum(dims, keepdims=True))
    return scaled / jnp.maximum(norm, 1.0)  # the largest entry is one, or all are zero


def per_row(value: Array) -> tuple[int, ...]:
    """All dimensions but the first."""
    return tuple(range(1, value.ndim))


def row_sum(value: Array) -> Array:
    """Sum over all dimensions but the first: ``[batch, ...]`` to ``[batch]``."""
    return value.sum(per_row(value))


def draw_rows(key: Array, batch: int, fraction: float) -> Array:
    """Distinct rows drawn at random, a share of the batch and at least one, ``[rows]``.

    Taking the rows of the largest random numbers costs a twentieth of sorting for a permutation.
    """
    count = max(1, round(fraction * batch))
    return lax.top_k(jax.random.uniform(key, (batch,), jnp.float32), count)[1]


def limits(value: Array) -> Any:
    """``jnp.finfo`` of the value's dtype: ``eps``, ``tiny`` and the rest."""
    return jnp.finfo(value.dtype)  # type: ignore[no-untyped-call]


def wide(value: Array) -> Array:
    """The value in float32 at least, in which squares of half precision do not overflow."""
    return value.astype(jnp.promote_types(value.dtype, jnp.float32))


def over_rows(value: Array, like: Array) -> Array:
    """``[batch]`` with ones appended until it broadcasts to ``like``, ``[batch, ...]``."""
    return value.reshape(-1, *[1] * (like.ndim - 1))


def joined(value: Array) -> Array:
    """The first two dimensions as one: ``[points, batch, ...]`` to ``[points * batch, ...]``."""
    return value.reshape(-1, *value.shape[2:])


def _peak(value: Array, dims: tuple[int, ...]) -> Array:
    peak = lax.stop_gradient(jnp.abs(value).max(dims, keepdims=True))
    return jnp.where(peak > 0, peak, 1.0)
