"""Balls from the names of features, and as JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from aajr.geometry import Ball


def ball_facts(ball: Ball) -> dict[str, Any]:
    """The settings of a ball as JSON values; an infinite bound reads as None.

    Example:
        >>> ball_facts(Ball("linf", 0.1, mask=torch.tensor([True, False]), low=-1.0))["features"]
        (0,)
    """
    mask = ball.mask
    return {
        "norm": ball.norm,
        "epsilon": ball.epsilon,
        "features": None if mask is None else tuple(mask.flatten().nonzero().flatten().tolist()),
        "scale": _numbers(ball.scale),
        "low": _numbers(ball.low),
        "high": _numbers(ball.high),
    }


def features_mask(
    chosen: Sequence[str | int], features: int, names: Mapping[str, Sequence[int]] | None = None
) -> Tensor:
    """Mask of the features that an adversary may change, boolean ``[features]``.

    Args:
        chosen: indices, ranges such as ``4-7`` with both ends, or names.
        features: number of features.
        names: indices of the features that each name stands for.

    Raises:
        ValueError: an index out of range, an unknown name, or no features.

    Example:
        >>> features_mask(["0", "2-3"], 5).tolist()
        [True, False, True, True, False]
    """
    mask = torch.zeros(features, dtype=torch.bool)
    for entry in chosen:
        for index in _indices(str(entry).strip(), names or {}):
            if not 0 <= index < features:
                raise ValueError(
                    f"features={entry!r} is out of range; the agent reads {features} features, "
                    f"give 0 to {features - 1}"
                )
            mask[index] = True
    if not bool(mask.any()):
        raise ValueError("features is empty; name at least one, or leave it out for all")
    return mask


def _indices(entry: str, names: Mapping[str, Sequence[int]]) -> Sequence[int]:
    if entry in names:
        return names[entry]
    first, dash, last = entry.partition("-")
    if first.isdecimal() and (not dash or last.isdecimal()):
        return range(int(first), int(last if dash else first) + 1)
    known = f"; its names are {', '.join(names)}" if names else "; this environment names none"
    raise ValueError(f"features={entry!r} is no index, no range such as 4-7 and no name{known}")


def _numbers(value: Tensor | float | None) -> Any:
    """A number or a tensor as nested lists, with None for infinity."""
    if value is None:
        return None
    if isinstance(value, Tensor):
        return tuple(map(_numbers, value)) if value.ndim else _numbers(float(value))
    return None if value in (float("inf"), float("-inf")) else float(value)
