"""Checks of the values of a record. Every message names the field, its value and the remedy."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def kind(value: Any) -> str:
    """Name of a value's type, as an error message says it."""
    return "null" if value is None else type(value).__name__


def check_text(name: str, value: Any) -> None:
    """Raise ValueError unless ``value`` is a text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name}={value!r} is not allowed; give a text that is not empty")


def check_real(
    name: str,
    value: Any,
    *,
    minimum: float = 0.0,
    maximum: float = math.inf,
    exclusive: bool = False,
) -> None:
    """Raise ValueError unless ``value`` is a finite Python number within the bounds."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    small_enough = number and abs(value) < 1e300
    inside = small_enough and minimum <= value <= maximum and not (exclusive and value == minimum)
    if not inside:
        lower = "" if minimum == -math.inf else f" {'>' if exclusive else '>='} {minimum:g}"
        upper = "" if maximum == math.inf else f" <= {maximum:g}"
        raise ValueError(f"{name}={value!r} is not allowed; give a finite number{lower}{upper}")


def check_reals(name: str, value: Any) -> None:
    """Raise ValueError unless ``value`` maps names to finite numbers >= 0."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} is a {kind(value)}; give a mapping from names to numbers")
    for key, item in value.items():
        check_text(f"{name}: key", key)
        check_real(f"{name}[{key!r}]", item)


def tuple_of(name: str, value: Any, member: Any) -> tuple[Any, ...]:
    """``value`` as a tuple; ValueError unless it is a list of ``member``."""
    if not isinstance(value, list | tuple):
        raise ValueError(f"{name} is a {kind(value)}; give a list")
    for index, item in enumerate(value):
        if not isinstance(item, member):
            raise ValueError(f"{name}[{index}] is a {kind(item)}; give what the field documents")
    return tuple(value)


def frozen_facts(name: str, value: Any) -> dict[str, Any]:
    """Mapping of JSON values, lists made tuples: what is read then equals what was written."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} is a {kind(value)}; give a mapping from names to facts")
    return {key: _frozen(f"{name}[{key!r}]", item) for key, item in value.items()}


def _frozen(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return frozen_facts(name, value)
    if isinstance(value, list | tuple):
        return tuple(_frozen(f"{name}[{index}]", item) for index, item in enumerate(value))
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name}={value!r} is not allowed; leave it out or give a finite number")
    if value is None or isinstance(value, str | int | float):
        return value
    raise ValueError(f"{name} is a {kind(value)}; give text, numbers, lists or mappings")


def parse_json(text: str) -> Any:
    """Value of a JSON text; ValueError for NaN, infinity or a field that appears twice."""
    return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_without_repetition)


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} stands where a finite number belongs; leave the value out")


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {double!r} appears twice in one object; keep one")
    return found
