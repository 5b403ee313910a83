"""Search without gradients among the finitely many points of a threat set."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from aajr._checks import check_count
from aajr._modes import Policy
from aajr.adversaries._objectives import Divergence
from aajr.adversaries._record import better
from aajr.adversaries._structured import ChoiceScorer, StructuredAdversary
from aajr.geometry import FiniteSet
from aajr.trajectory import Objective, Reference, Trajectory


@final
@dataclass(frozen=True, eq=False)
class SubsetSearch(StructuredAdversary):
    """The worst k groups to change: exact by enumeration if they are few, else greedy with swaps.

    Greedy adds the change that raises the loss most, k times. Then each changed group in turn is
    exchanged for the best one, if that raises the loss. The search needs no gradients, so flat or
    wrong gradients do not hide a weakness.

    Attributes:
        ball: the threat set, for instance :class:`aajr.geometry.Dropped`.
        objective: what to maximise.
        enumerate_up_to: greatest number of subsets and options to enumerate; 0 for never.
        swaps: rounds of exchanges after greedy.

    Example:
        >>> import torch
        >>> from aajr.geometry import Dropped
        >>> objective = lambda output, reference: output.sum(1)
        >>> search = SubsetSearch(Dropped(torch.arange(3), budget=2), objective)
        >>> search(torch.clone, torch.tensor([[-3.0, 1.0, -2.0]]), torch.Generator()).worst
        tensor([[0., 1., 0.]])

    Source: greedy maximisation, Nemhauser et al., 1978, https://doi.org/10.1007/BF01588971.
    """

    ball: FiniteSet
    objective: Objective = field(default_factory=Divergence)
    enumerate_up_to: int = 256
    swaps: int = 1

    def __post_init__(self) -> None:
        check_count("enumerate_up_to", self.enumerate_up_to, minimum=0)
        check_count("swaps", self.swaps, minimum=0)

    def search(
        self, policy: Policy, reference: Reference, generator: torch.Generator
    ) -> Trajectory:
        """Enumerate, or search greedily."""
        x = reference.inputs
        options, members = self.ball.options(x, reference.data), self.ball.members(x)
        scorer = ChoiceScorer(policy, self.objective, reference, options, members)
        budget = len(members) if self.ball.budget is None else self.ball.budget
        if number_of_choices(len(members), len(options), budget) <= self.enumerate_up_to:
            choice, loss = enumerate_choices(scorer, budget)
        else:
            choice, loss = greedy_choice(scorer, budget, self.swaps)
        return scorer.trajectory(choice, loss, self.ball.budget_dims)


@final
@dataclass(frozen=True, eq=False)
class CoordinateAscent(StructuredAdversary):
    """One group after another takes its best option while the others are fixed, in several sweeps.

    It starts from no change and from random choices, and keeps the best result per sample. It needs
    no gradients. The set must not limit how many groups change.

    Attributes:
        ball: the threat set, for instance :class:`aajr.geometry.Quantised`.
        objective: what to maximise.
        sweeps: passes over all groups.
        restarts: random starts besides the one from no change.

    Raises:
        ValueError: a set with a budget, no sweeps.

    Example:
        >>> import torch
        >>> from aajr.geometry import Ball, Quantised
        >>> objective = lambda output, reference: output.sum(1)
        >>> ascent = CoordinateAscent(Quantised(Ball("linf", 0.5), 0.25), objective)
        >>> policy = lambda x: x * torch.tensor([1.0, -1.0])
        >>> ascent(policy, torch.zeros(1, 2), torch.Generator()).worst
        tensor([[ 0.5000, -0.5000]])

    Source: Wright, Coordinate descent algorithms, 2015, https://arxiv.org/abs/1502.04759.
    """

    ball: FiniteSet
    objective: Objective = field(default_factory=Divergence)
    sweeps: int = 2
    restarts: int = 1

    def __post_init__(self) -> None:
        check_count("sweeps", self.sweeps)
        check_count("restarts", self.restarts, minimum=0)
        if self.ball.budget is not None:
            raise ValueError(
                f"ball.budget={self.ball.budget} is not supported, because a sweep would spend the "
                "whole budget on the first features; use SubsetSearch"
            )

    def search(
        self, policy: Policy, reference: Reference, generator: torch.Generator
    ) -> Trajectory:
        """Sweep from every start."""
        x = reference.inputs
        options, members = self.ball.options(x, reference.data), self.ball.members(x)
        scorer = ChoiceScorer(policy, self.objective, reference, options, members)
        choice, loss = self._sweep(scorer, scorer.nothing, scorer.clean)
        for _ in range(self.restarts):
            uniform = torch.rand(choice.shape, generator=generator, device=x.device, dtype=x.dtype)
            start = (uniform * (len(options) + 1)).long()
            choice, loss = better(choice, loss, *self._sweep(scorer, start, scorer(start)))
        return scorer.trajectory(choice, loss, self.ball.budget_dims)

    def _sweep(self, scorer: ChoiceScorer, choice: Tensor, loss: Tensor) -> tuple[Tensor, Tensor]:
        count = len(scorer.options) + 1
        for _, group in itertools.product(range(self.sweeps), self._groups(scorer)):
            held = choice
            for shift in range(1, count):
                other = held.clone()
                other[:, group] = (held[:, group] + shift) % count
                choice, loss = better(choice, loss, other, scorer(other))
        return choice, loss

    def _groups(self, scorer: ChoiceScorer) -> list[int]:
        """Groups that some sample can change."""
        moves = (scorer.options != 0).any(0).any(0)
        return (scorer.members & moves).flatten(1).any(1).nonzero().flatten().tolist()


def number_of_choices(groups: int, options: int, budget: int) -> int:
    """Σ_{j=1..k} C(G, j) M^j, the choices that change something."""
    return sum(math.comb(groups, j) * options**j for j in range(1, min(groups, budget) + 1))


def enumerate_choices(scorer: ChoiceScorer, budget: int) -> tuple[Tensor, Tensor]:
    """The best of all choices: ``[batch, groups]`` and its loss ``[batch]``."""
    choice, loss = scorer.nothing, scorer.clean
    for groups, options in _choices(len(scorer.members), len(scorer.options), budget):
        other = scorer.nothing
        other[:, list(groups)] = torch.tensor(options, device=other.device)
        choice, loss = better(choice, loss, other, scorer(other))
    return choice, loss


def greedy_choice(scorer: ChoiceScorer, budget: int, swaps: int) -> tuple[Tensor, Tensor]:
    """Greedy additions, then swaps: choice ``[batch, groups]`` and its loss ``[batch]``."""
    budget = min(budget, len(scorer.members))
    choice, loss = scorer.nothing, scorer.clean
    for _ in range(budget):
        choice, loss = _best_addition(scorer, choice, loss)
    for _, slot in itertools.product(range(swaps), range(budget)):
        smaller = _without(choice, slot)
        swapped = _best_addition(scorer, smaller, scorer(smaller))
        choice, loss = better(choice, loss, *swapped)
    return choice, loss


def _choices(
    groups: int, options: int, budget: int
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    for size in range(1, min(groups, budget) + 1):
        for chosen in itertools.combinations(range(groups), size):
            for taken in itertools.product(range(1, options + 1), repeat=size):
                yield chosen, taken


def _best_addition(scorer: ChoiceScorer, choice: Tensor, loss: Tensor) -> tuple[Tensor, Tensor]:
    """The best change of one group of a choice that leaves room for one."""
    best, best_loss = choice, loss
    for group, option in itertools.product(
        range(len(scorer.members)), range(1, len(scorer.options) + 1)
    ):
        other = choice.clone()
        other[:, group] = option
        best, best_loss = better(best, best_loss, other, scorer(other))
    return best, best_loss


def _without(choice: Tensor, slot: int) -> Tensor:
    """The choice without its slot-th changed group; unchanged where there are fewer."""
    changed = choice != 0
    taken = changed & (changed.cumsum(-1) == slot + 1)
    return choice.masked_fill(taken, 0)
