"""The interface that adversaries need of every threat set."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class ThreatSet(Protocol):
    """A set Δ of perturbations around every sample; :class:`aajr.Ball` is one."""

    @property
    def epsilon(self) -> float:
        """Greatest admissible size."""
        ...

    @property
    def budget_dims(self) -> int:
        """Trailing dimensions that share one budget."""
        ...

    def check(self, x: Tensor) -> None:
        """Raise ValueError unless x is a finite batch that the set fits."""
        ...

    def attackable(self, x: Tensor) -> Tensor:
        """1 where the adversary may act and 0 elsewhere, in x's shape."""
        ...

    def size(self, delta: Tensor) -> Tensor:
        """Size of δ, ``[batch, *event]`` to ``[batch, ...]``; at most ε inside the set."""
        ...

    def project(self, delta: Tensor, x: Tensor) -> Tensor:
        """The nearest point of the set around x; both ``[batch, *event]``."""
        ...
