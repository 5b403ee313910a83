"""Checks of settings, and choices that several packages share; neither torch nor JAX is loaded."""

from __future__ import annotations

import math
from collections.abc import Collection
from numbers import Integral, Real
from typing import Literal

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
