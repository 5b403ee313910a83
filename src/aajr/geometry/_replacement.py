"""Observations that are dropped, frozen or delayed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from aajr._checks import check_count, check_finite
from aajr.geometry._finite import FiniteSet
from aajr.geometry.groups import check_groups, touched


class Replacement(FiniteSet):
    """At most k groups of features show another value than the true one.

    The size of δ is the number of groups that change, so ε = k. A replaced value may be at any
    distance from the true one.
    """

    groups: Tensor
    budget: int

    @property
    def epsilon(self) -> float:
        """k, the greatest number of groups that change."""
        return float(self.budget)

    @property
    def budget_dims(self) -> int:
        """Dimensions of one sample."""
        return self.groups.ndim

    def size(self, delta: Tensor) -> Tensor:
        """Number of groups that change: ``[batch, *event]`` to ``[batch]``."""
        return touched(delta, self.members(delta)).sum(-1).to(delta)

    @abstractmethod
    def options(self, x: Tensor, data: Mapping[str, Tensor]) -> Tensor:
        """Changes that each feature may take besides 0, ``[M, batch, *event]``."""


@final
@dataclass(frozen=True, eq=False)
class Dropped(Replacement):
    """At most k groups are lost: their features show a fill value.

    Attributes:
        groups: number of each feature's group in the shape of one sample, -1 for features that
            cannot be lost; see :func:`aajr.hide_and_seek.game.items.observed_items` for
            hide-and-seek.
        budget: k.
        fill: value of a lost feature, broadcastable to one sample; usually zero or the mean.

    Raises:
        ValueError: groups that are not whole numbers, no budget, NaN in ``fill``.

    Example:
        >>> import torch
        >>> lost = Dropped(torch.tensor([-1, 0, 0, 1]), budget=1)
        >>> lost.options(torch.ones(1, 4), {})[0]
        tensor([[-1., -1., -1., -1.]])
        >>> lost.size(torch.tensor([[0.0, -1.0, -1.0, 0.0]]))
        tensor([1.])
    """

    groups: Tensor
    budget: int = 1
    fill: Tensor = field(default_factory=lambda: torch.zeros(()))

    def __post_init__(self) -> None:
        check_groups(self.groups)
        check_count("budget", self.budget)
        check_finite("fill", self.fill)

    def options(self, x: Tensor, data: Mapping[str, Tensor]) -> Tensor:
        """fill - x, ``[1, batch, *event]``."""
        return (self.fill.to(x) - x).unsqueeze(0)


@final
@dataclass(frozen=True, eq=False)
class Frozen(Replacement):
    """At most k groups keep their value of the previous step, ``data["history"][:, -1]``.

    Attributes:
        groups: number of each feature's group in the shape of one sample, -1 for features that
            cannot freeze.
        budget: k.

    Raises:
        ValueError: groups that are not whole numbers, no budget.

    Example:
        >>> import torch
        >>> frozen = Frozen(torch.tensor([0, 1]))
        >>> history = torch.tensor([[[0.5, 0.5]]])
        >>> frozen.options(torch.ones(1, 2), {"history": history})[0]
        tensor([[-0.5000, -0.5000]])
    """

    groups: Tensor
    budget: int = 1

    def __post_init__(self) -> None:
        check_groups(self.groups)
        check_count("budget", self.budget)

    @property
    def memory(self) -> int:
        """Number of earlier observations that the options need."""
        return 1

    def options(self, x: Tensor, data: Mapping[str, Tensor]) -> Tensor:
        """x_{t-1} - x_t, ``[1, batch, *event]``."""
        return _past(x, data, self.memory)


@final
@dataclass(frozen=True, eq=False)
class Delayed(Replacement):
    """All features of a delayed group show their values of d ≤ D steps ago.

    Attributes:
        groups: number of each feature's group in the shape of one sample, -1 for features that
            cannot be delayed; each group may have a delay of its own.
        delay: D, the greatest delay in steps.
        budget: number of groups that may be delayed.

    Raises:
        ValueError: groups that are not whole numbers, no delay or budget.

    Example:
        >>> import torch
        >>> late = Delayed(torch.zeros(1, dtype=torch.long), delay=2)
        >>> history = torch.tensor([[[0.0], [0.5]]])
        >>> late.options(torch.ones(1, 1), {"history": history}).flatten()
        tensor([-0.5000, -1.0000])
    """

    groups: Tensor
    delay: int = 1
    budget: int = 1

    def __post_init__(self) -> None:
        check_groups(self.groups)
        check_count("delay", self.delay)
        check_count("budget", self.budget)

    @property
    def memory(self) -> int:
        """Number of earlier observations that the options need."""
        return self.delay

    def options(self, x: Tensor, data: Mapping[str, Tensor]) -> Tensor:
        """x_{t-d} - x_t for d = 1..D, ``[D, batch, *event]``."""
        return _past(x, data, self.memory)


def _past(x: Tensor, data: Mapping[str, Tensor], steps: int) -> Tensor:
    history = data.get("history")
    expected = (x.shape[0], steps, *x.shape[1:])
    if history is None:
        raise ValueError(
            "data['history'] is missing; pass the clean observations of earlier steps, "
            f"{expected}, most recent last"
        )
    if history.ndim != x.ndim + 1 or history.shape[1] < steps or history[:, 0].shape != x.shape:
        raise ValueError(
            f"data['history'] has shape {tuple(history.shape)}; give at least {expected}, most "
            "recent last"
        )
    check_finite("data['history']", history)
    return torch.stack([history[:, -back] - x for back in range(1, steps + 1)])
