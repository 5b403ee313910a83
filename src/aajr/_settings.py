"""Checks of settings, and options that several packages share; it loads neither torch nor JAX."""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Iterable
from numbers import Integral, Real
from typing import Any, Literal

StepRule = Literal["fixed", "normalized", "stable", "backtracking"]
"""How the ascent chooses the length of a step."""


def is_traced(value: object) -> bool:
    """Whether the value is JAX's stand-in inside jit, grad or vmap: only its type is known."""
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(value, jax.core.Tracer)


def check_choice(name: str, value: str, choices: Collection[str]) -> None:
    """Raise ValueError unless ``value`` is one of ``choices``."""
    if value not in choices:
        known = ", ".join(repr(c) for c in choices)
        raise ValueError(f"{name}={value!r} is unknown; choose one of {known}")


def check_number(
    name: str,
    value: Any,
    *,
    minimum: float = 0.0,
    exclusive: bool = False,
    maximum: float = math.inf,
) -> None:
    """Raise ValueError unless ``value`` is a finite number within the bounds, or traced by JAX."""
    if is_traced(value):
        return
    if hasattr(value, "__array_namespace__") and value.ndim == 0:  # an array of JAX or NumPy
        value = value.item()
    number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < minimum or (exclusive and value == minimum) or value > maximum:
        bound = f"{'>' if exclusive else '>='} {minimum:g}"
        top = "" if maximum == math.inf else f" and <= {maximum:g}"
        raise ValueError(f"{name}={value!r} is not allowed; give a finite number {bound}{top}")


def check_count(name: str, value: int, *, minimum: int = 1) -> None:
    """Raise ValueError unless ``value`` is a whole number of at least ``minimum``."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < minimum:
        raise ValueError(f"{name}={value!r} is not allowed; give a whole number >= {minimum}")


def check_same_shape(name: str, value: Any, other_name: str, other: Any) -> None:
    """Raise ValueError unless two tensors or arrays have the same shape."""
    if value.shape != other.shape:
        raise ValueError(
            f"{name} has shape {tuple(value.shape)} but {other_name} has {tuple(other.shape)}; "
            "they must agree"
        )


def stated(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The settings that are not None: ``dict_factory`` of :func:`dataclasses.asdict`.

    An option that is not used does not change the key of stored results.

    Example:
        >>> stated([("sources", 5), ("radio", None)])
        {'sources': 5}
    """
    return {name: value for name, value in pairs if value is not None}
