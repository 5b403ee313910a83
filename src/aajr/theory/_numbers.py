"""Numbers that are floats or tensors."""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import Tensor

Number = TypeVar("Number", float, Tensor)


def ratio(numerator: Number, denominator: Number) -> Number:
    """``numerator / denominator``; infinite where the denominator is zero."""
    if isinstance(numerator, Tensor):
        return torch.where(denominator > 0, numerator / denominator, math.inf)
    return numerator / denominator if denominator > 0 else math.inf


def curved_loss(smoothness: Number, length: Number) -> Number:
    """½ L r²; zero for a step of length zero, even where L is infinite."""
    loss = smoothness * length**2 / 2
    if isinstance(loss, Tensor):
        return torch.where(length > 0, loss, 0.0)
    return loss if length > 0 else 0.0


def refuse_negative(**numbers: float | Tensor) -> None:
    """Raise ValueError if a number is negative or NaN."""
    for name, value in numbers.items():
        least = float(value.min()) if isinstance(value, Tensor) else value
        if not least >= 0:
            raise ValueError(f"{name}={least} is not allowed; give a norm or a constant >= 0")
