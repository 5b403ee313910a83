"""Finite threat sets: each group of features keeps its value or takes one of a few others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor

from aajr._checks import check_batch, check_same_shape
from aajr.geometry._sparse import check_event, rounding
from aajr.geometry.groups import group_sum, keep_best, membership, on_features, touched


class FiniteSet(ABC):
    """Δ = {δ : every group is 0 or takes one of M options; at most k groups change}.

    A subclass defines the options; the budget counts groups of one sample.
    """

    groups: Tensor | None
    budget: int | None

    @property
    @abstractmethod
    def epsilon(self) -> float:
        """Greatest admissible size."""

    @property
    @abstractmethod
    def budget_dims(self) -> int:
        """Dimensions of one sample, which share the budget."""

    @property
    def memory(self) -> int:
        """Number of earlier observations that the options need."""
        return 0

    @abstractmethod
    def size(self, delta: Tensor) -> Tensor:
        """Size of δ, ``[batch, *event]`` to ``[batch]``; at most ε inside the set."""

    @abstractmethod
    def options(self, x: Tensor, data: Mapping[str, Tensor]) -> Tensor:
        """Changes that each feature may take besides 0, ``[M, batch, *event]``."""

    def check(self, x: Tensor) -> None:
        """Raise ValueError unless x is a finite batch that this set fits."""
        check_batch("x", x)
        check_event(self.budget_dims, x)
        if not bool(self.attackable(x).any()):
            raise ValueError("groups and mask leave no attackable feature; allow at least one")

    def members(self, x: Tensor) -> Tensor:
        """Which feature is in which group, ``[groups, *event]``."""
        return membership(self.groups, x, self.budget_dims)

    def attackable(self, x: Tensor) -> Tensor:
        """1 where the adversary may act and 0 elsewhere, in x's shape ``[batch, *event]``."""
        return self.members(x).any(0).to(x).expand_as(x)

    @final
    @torch.no_grad()
    def project(self, delta: Tensor, x: Tensor, data: Mapping[str, Tensor] | None = None) -> Tensor:
        """The nearest point of the set around x in the Euclidean norm, ``[batch, *event]``.

        Options of different groups do not interact. So each group takes its nearest option, and
        the k groups that lower the distance most are kept.
        """
        check_same_shape("delta", delta, "x", x)
        options = self.options(x, data or {})
        members = self.members(x)
        gain = group_sum(delta.square() - (delta - options).square(), members)
        best, option = gain.max(0)
        kept = keep_best(best, len(members) if self.budget is None else self.budget)
        return assemble_choices(options, (option + 1) * kept, members)

    @final
    def contains(
        self, delta: Tensor, x: Tensor, data: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Whether δ is in the set around x, up to rounding: ``[batch]``."""
        members = self.members(x)
        options = self.options(x, data or {})
        choices = torch.cat([torch.zeros_like(x).unsqueeze(0), options])
        slack = rounding(delta, x) + 1e-6 * choices.abs()
        missed = group_sum(((choices - delta).abs() > slack).to(x), members)
        right = (missed == 0).any(0).all(-1)
        untouched = ((delta == 0) | members.any(0)).flatten(1).all(-1)
        if self.budget is None:
            return right & untouched
        return right & untouched & (touched(delta, members).sum(-1) <= self.budget)


def assemble_choices(options: Tensor, choice: Tensor, members: Tensor) -> Tensor:
    """The δ of the chosen options: 0 leaves a group unchanged, m takes option m.

    Args:
        options: ``[M, batch, *event]``.
        choice: ``[batch, groups]``, from 0 to M.
        members: ``[groups, *event]``.

    Returns:
        ``[batch, *event]``.

    Example:
        >>> options = torch.tensor([[[1.0, 1.0]], [[2.0, 2.0]]])
        >>> alone = torch.eye(2, dtype=torch.bool)
        >>> assemble_choices(options, torch.tensor([[0, 2]]), alone)
        tensor([[0., 2.]])
    """
    delta = torch.zeros_like(options[0])
    for index, option in enumerate(options):
        delta = torch.where(on_features(choice == index + 1, members), option, delta)
    return delta
