"""Checks of what users hand in. Every message names the parameter, its value and the remedy."""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from torch import Tensor


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
    below = value <= minimum if exclusive else value < minimum
    if not math.isfinite(value) or below or value > maximum:
        bound = f"{'>' if exclusive else '>='} {minimum:g}"
        top = "" if maximum == math.inf else f" and <= {maximum:g}"
        raise ValueError(f"{name}={value!r} is not allowed; give a finite number {bound}{top}")


def check_count(name: str, value: int, *, minimum: int = 1) -> None:
    """Raise ValueError unless ``value`` is a whole number of at least ``minimum``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise ValueError(f"{name}={value!r} is not allowed; give a whole number >= {minimum}")


def check_batch(name: str, value: Tensor) -> None:
    """Raise ValueError unless ``value`` is a finite float tensor ``[batch, ...]`` with rows."""
    if not isinstance(value, Tensor):
        raise ValueError(f"{name} is a {type(value).__name__}; give a torch.Tensor")
    if not value.is_floating_point():
        raise ValueError(f"{name} has dtype {value.dtype}; convert it with .float()")
    if value.ndim < 2 or value.shape[0] == 0:
        raise ValueError(
            f"{name} has shape {tuple(value.shape)}; "
            "give [batch, ..., features] with at least one row"
        )
    if not torch.isfinite(value).all():
        bad = int((~torch.isfinite(value)).sum())
        raise ValueError(f"{name} holds {bad} NaN or infinite values; clean the input first")


def check_same_shape(name: str, value: Tensor, other_name: str, other: Tensor) -> None:
    """Raise ValueError unless the two tensors have one shape."""
    if value.shape != other.shape:
        raise ValueError(
            f"{name} has shape {tuple(value.shape)} but {other_name} has {tuple(other.shape)}; "
            "they must agree"
        )
