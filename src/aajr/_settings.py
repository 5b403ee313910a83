"""Checks of settings, and choices that several packages share; neither torch nor JAX is loaded."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from numbers import Integral, Real
from typing import Any, Literal

StepRule = Literal["fixed", "normalized", "stable", "backtracking"]
"""How the ascent chooses the length of a step."""


def check_choice(name: str, value: str, choices: Collection[str]) -> None:
    """Raise ValueError unless ``value`` is one of ``choices``."""
    if value not in choices:
        known = ", ".join(repr(c) for c in choices)
        raise ValueError(f"{name}={value!r} is unknown; choose one of {known}")


def check_number(
    name: str,
    value: float,
    *,
    minimum: float = 0.0,
    exclusive: bool = False,
    maximum: float = math.inf,
) -> None:
    """Raise ValueError unless ``value`` is a finite number within the bounds."""
    number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < minimum or (exclusive and value == minimum) or value > maximum:
        bound = f"{'>' if exclusive else '>='} {minimum:g}"
        top = "" if maximum == math.inf else f" and <= {maximum:g}"
        raise ValueError(f"{name}={value!r} is not allowed; give a finite number {bound}{top}")


def check_count(name: str, value: int, *, minimum: int = 1) -> None:
    """Raise ValueError unless ``value`` is a whole number of at least ``minimum``."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < minimum:
        raise ValueError(f"{name}={value!r} is not allowed; give a whole number >= {minimum}")


def stated(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The settings that are not None: ``dict_factory`` of :func:`dataclasses.asdict`.

    An option that is not used leaves no trace in what identifies stored results.

    Example:
        >>> stated([("sources", 5), ("radio", None)])
        {'sources': 5}
    """
    return {name: value for name, value in pairs if value is not None}
