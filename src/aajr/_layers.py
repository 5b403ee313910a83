"""Layers that torch lacks, and the interface of a policy that is a chain of layers."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn


@runtime_checkable
class Layered(Protocol):
    """A policy that is not a ``Sequential`` but computes the same as one."""

    def as_sequential(self) -> nn.Sequential:
        """The equivalent layers, with the policy's own weights; ValueError if there are none."""
        ...


class Clamp(nn.Module):
    """min(max(x, low), high) with limits for every feature.

    Args:
        low: least values, ``[features]``; -inf for none.
        high: greatest values, ``[features]``; inf for none.

    Example:
        >>> Clamp(torch.tensor([-1.0, -torch.inf]), torch.ones(2))(torch.tensor([[-3.0, -3.0]]))
        tensor([[-1., -3.]])
    """

    low: Tensor
    high: Tensor

    def __init__(self, low: Tensor, high: Tensor) -> None:
        super().__init__()
        self.register_buffer("low", low)
        self.register_buffer("high", high)

    def forward(self, x: Tensor) -> Tensor:
        """The values within the limits."""
        return torch.minimum(torch.maximum(x, self.low), self.high)
