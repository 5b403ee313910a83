"""The L0 threat set, in which few features change."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from aajr._checks import check_count
from aajr.geometry._ball import Ball
from aajr.geometry.groups import (
    check_groups,
    group_sum,
    keep_best,
    membership,
    on_features,
    touched,
)


class InsideCube:
    """The common base of the sets inside an L∞ ball."""

    ball: Ball

    def check_norm(self) -> None:
        """Raise ValueError unless the ball is L∞, in which features are independent."""
        if self.ball.norm != "linf":
            raise ValueError(
                f"ball.norm={self.ball.norm!r} couples the features; give an L∞ ball, 'linf'"
            )

    @property
    def epsilon(self) -> float:
        """ε, greatest change of a feature in units of the ball's scale."""
        return self.ball.epsilon

    @property
    def budget_dims(self) -> int:
        """Dimensions of one sample, which share the budget."""
        return self.ball.budget_dims


@dataclass(frozen=True, eq=False)
class Sparse(InsideCube):
    """Δ = {δ : at most k groups of features change, each feature by at most ε s}.

    With the reports of n sources as groups, any k of the n sources may lie by up to ε, see
    :class:`aajr.adversaries.LyingSources`.

    The size of δ is ‖δ/s‖_∞, or infinity if more than k groups change. As with a ball, the last
    ``event_dims`` dimensions share one budget. On ``[batch, agents, features]`` k groups of every
    agent may change by default, and k groups of the whole team with ``event_dims=2``.

    Attributes:
        ball: the L∞ ball of the features that do change, with its mask, scale and valid box.
        budget: k, the greatest number of groups that change.
        groups: number of each feature's group in the shape of one event, -1 for a protected
            feature; every feature is a group of its own by default.

    Raises:
        ValueError: a ball that is not L∞, no budget, groups that are not whole numbers.

    Example:
        >>> import torch
        >>> sparse = Sparse(Ball("linf", 0.5), budget=1)
        >>> sparse.project(torch.tensor([[0.2, -0.9, 0.3]]), torch.zeros(1, 3))
        tensor([[ 0.0000, -0.5000,  0.0000]])

    Source: Croce and Hein, Sparse and imperceivable adversarial attacks, 2019,
    https://arxiv.org/abs/1909.05040.
    """

    ball: Ball
    budget: int
    groups: Tensor | None = None

    def __post_init__(self) -> None:
        self.check_norm()
        check_count("budget", self.budget)
        check_groups(self.groups)

    def with_epsilon(self, epsilon: float) -> Sparse:
        """The same set with another ε."""
        return replace(self, ball=self.ball.with_epsilon(epsilon))

    def check(self, x: Tensor) -> None:
        """Raise ValueError unless x is a finite batch that this set fits."""
        self.ball.check(x)
        if not bool(self.attackable(x).any()):
            raise ValueError("groups and mask leave no attackable feature; allow at least one")

    def members(self, x: Tensor) -> Tensor:
        """Which feature is in which group, ``[groups, *event]``."""
        if self.groups is None or self.groups.shape != x.shape[-self.budget_dims :]:
            return membership(self.groups, x, self.budget_dims)
        return self._members.to(x.device)

    @cached_property
    def _members(self) -> Tensor:
        """The members of the given groups, which do not depend on x."""
        groups: Any = self.groups
        return membership(groups, groups, self.budget_dims)

    def attackable(self, x: Tensor) -> Tensor:
        """1 where the adversary may act and 0 elsewhere, in x's shape ``[batch, *event]``."""
        return self.ball.attackable(x) * self.members(x).any(0)

    def size(self, delta: Tensor) -> Tensor:
        """‖δ/s‖_∞, infinite where more than k change: ``[batch, *event]`` to ``[batch, ...]``."""
        many = touched(delta, self.members(delta)).sum(-1) > self.budget
        return self.ball.size(delta).masked_fill(many, math.inf)

    @torch.no_grad()
    def project(self, delta: Tensor, x: Tensor) -> Tensor:
        """Euclidean projection of δ on the set around x; both ``[batch, *event]``.

        Keeping group g lowers the squared distance by ‖δ_g‖² - ‖δ_g - P(δ_g)‖², where P is the
        projection on the ball. The k groups with the largest gain are kept.
        """
        inside = self.ball.project(delta * self.attackable(x), x)
        members = self.members(x)
        gain = group_sum(delta.square() - (delta - inside).square(), members)
        return inside * on_features(keep_best(gain, self.budget), members)

    @torch.no_grad()
    def corners(self, x: Tensor) -> Tensor:
        """Least and greatest change of every feature, ``[2, batch, *event]``."""
        far = torch.full_like(x, torch.finfo(x.dtype).max / 4) * self.attackable(x)
        return torch.stack([self.ball.project(-far, x), self.ball.project(far, x)])

    def contains(
        self, delta: Tensor, x: Tensor, data: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Whether δ is in the set around x, up to rounding: ``[batch, ...]``."""
        tolerance = 1e-3 * self.epsilon + self.ball.size(rounding(delta, x))
        return self.size(delta) <= self.epsilon + tolerance


def check_event(budget_dims: int, x: Tensor) -> None:
    """Raise ValueError unless a sample of x is one event, whose groups share one budget."""
    if x.ndim != 1 + budget_dims:
        raise ValueError(
            f"x has shape {tuple(x.shape)} but event_dims={budget_dims} and one budget holds for a "
            f"sample; give event_dims={x.ndim - 1}, or x with {budget_dims} dimensions per sample"
        )


def rounding(delta: Tensor, x: Tensor) -> Tensor:
    """How far x + δ - x may round from δ, in the shape of x."""
    return 4 * torch.finfo(x.dtype).eps * (x.abs() + delta.abs())
