"""A bounded number of rows at a time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import Array, lax

from aajr._settings import check_count

Part = Callable[[Any], Any]
"""Cuts the same rows out of every array of a pytree."""

Result = TypeVar("Result")

_ON_ONE_DEVICE = 65536
_ROWS: ContextVar[int | None] = ContextVar("rows", default=None)
# makes the bound a part of the key of jit's cache
_traced_with = getattr(jax, "make_user_context", lambda default: nullcontext)(None)


@contextmanager
def rows_at_once(count: int) -> Iterator[None]:
    """Bound the number of rows that adversaries pass to a policy at a time.

    It bounds their memory. The result stays the same, because rows are independent and all random
    numbers are drawn for the whole batch; only the last bits may differ, because XLA compiles
    another program. A ``lax.map`` runs over parts of equal size if there are more rows.

    The bound is read when a function is traced. A jitted function is traced again under another
    bound; where JAX has no ``make_user_context``, it keeps the bound of its first call. Under
    ``shard_map`` the rows are those of one device. Without this context the bound is 65536 on one
    device. On several devices there is none, because ``jit`` may have spread the batch over them,
    and parts would be moved between devices.

    Args:
        count: greatest number of rows per evaluation.

    Raises:
        ValueError: a count that is not a positive whole number.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from aajr.jax import Ball, LeastValue, ProjectedGradientAscent
        >>> attack = ProjectedGradientAscent(Ball("linf", 0.1), LeastValue())
        >>> with rows_at_once(2):
        ...     found = attack(jnp.tanh, jnp.zeros((5, 3)), jax.random.key(0))
    """
    check_count("count", count)
    token = _ROWS.set(count)
    try:
        with _traced_with(count):
            yield
    finally:
        _ROWS.reset(token)


def row_bound() -> int:
    """The bound set by :func:`rows_at_once`, or the default."""
    bound = _ROWS.get()
    if bound is None:
        return _ON_ONE_DEVICE if jax.device_count() == 1 else sys.maxsize
    return bound


def in_parts(function: Callable[[Part], Result], rows: int) -> Result:
    """Apply the function to every part of the rows and join the results along the first dimension.

    All parts have one size, so one program serves all; the last part repeats rows of the one
    before it.

    Args:
        function: takes a ``Part`` and returns arrays whose first dimension is its rows.
        rows: number of all rows.

    Returns:
        The same pytree with all rows.
    """
    if rows <= row_bound():
        return function(lambda whole: whole)
    count = -(-rows // row_bound())
    size = -(-rows // count)

    def at(start: Array) -> Result:
        return function(
            lambda whole: jax.tree.map(lambda v: lax.dynamic_slice_in_dim(v, start, size), whole)
        )

    def joined(value: Array) -> Array:
        """``[count, size, ...]`` to ``[rows, ...]``, without what the last part repeats."""
        last = rows - (count - 1) * size
        return jnp.concatenate([value[:-1].reshape(-1, *value.shape[2:]), value[-1, size - last :]])

    found = lax.map(at, jnp.minimum(size * jnp.arange(count), rows - size))
    return jax.tree.map(joined, found)
