"""Policies that count calls, fail or add noise, and random numbers that are equal in all rows."""

from __future__ import annotations

import math
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from aajr._inspection import inspect
from aajr.testing import dense


class FailingPolicy(nn.Module):
    """Works ``calls`` times, then raises, to test what state an error leaves."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.net = dense.tanh_net()
        self.calls = calls

    def forward(self, x: Tensor) -> Tensor:
        """The network's output, or RuntimeError."""
        self.calls -= 1
        if self.calls < 0:
            raise RuntimeError("out of calls")
        return cast(Tensor, self.net(x))


class CountingPolicy(nn.Module):
    """Counts the rows that it evaluates, after the two passes that test every policy."""

    def __init__(self) -> None:
        super().__init__()
        self.net = dense.tanh_net()
        self.rows = 0
        inspect(self, dense.inputs())
        self.rows = 0

    def forward(self, x: Tensor) -> Tensor:
        """The network's output."""
        self.rows += len(x)
        return cast(Tensor, self.net(x))


def linear(net: nn.Sequential, index: int) -> nn.Linear:
    """A linear layer of a network."""
    return cast(nn.Linear, net[index])


def with_dropout(net: nn.Sequential) -> nn.Sequential:
    """The same network with dropout and batch norm, which have an effect only in training mode."""
    norm = nn.BatchNorm1d(linear(net, 0).out_features, affine=False, eps=0.0).double()
    return nn.Sequential(net[0], norm, net[1], nn.Dropout(0.5), net[2]).train()


def modes(policy: nn.Module) -> list[bool]:
    """Training modes of a module and its children."""
    return [module.training for module in policy.modules()]


def identical_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every row the same noise, so that a row's value cannot depend on the batch."""
    randn = torch.randn

    def normal(
        size: tuple[int, ...], *, generator: torch.Generator, device: object, dtype: torch.dtype
    ) -> Tensor:
        base = randn(size[-1], generator=torch.Generator().manual_seed(11), dtype=torch.float64)
        return base.to(dtype).expand(size).clone()

    def uniform(
        size: tuple[int, ...], *, generator: torch.Generator, device: object, dtype: torch.dtype
    ) -> Tensor:
        return torch.full(size, math.sqrt(0.5), dtype=dtype)

    monkeypatch.setattr(torch, "randn", normal)
    monkeypatch.setattr(torch, "rand", uniform)
