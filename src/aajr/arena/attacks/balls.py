"""The settings of a ball as JSON values."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from aajr.geometry import Ball


def ball_facts(ball: Ball) -> dict[str, Any]:
    """The settings of a ball as JSON values; an infinite bound reads as None.

    Example:
        >>> import torch
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


def _numbers(value: Tensor | float | None) -> Any:
    """A number or a tensor as nested lists, with None for infinity."""
    if value is None:
        return None
    if isinstance(value, Tensor):
        return tuple(map(_numbers, value)) if value.ndim else _numbers(float(value))
    return None if value in (float("inf"), float("-inf")) else float(value)
