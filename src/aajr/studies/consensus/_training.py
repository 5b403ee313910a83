"""Train a group of policies as one batched network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from aajr._seeds import derive
from aajr.geometry.groups import membership, touched
from aajr.minimax import Minimax
from aajr.studies.consensus._case import Case, draw
from aajr.studies.consensus._methods import Method, SideBySide, adversary_of, noise_of
from aajr.studies.consensus._policies import Members


@dataclass(frozen=True)
class Budget:
    """The training budget, the same for every method.

    Attributes:
        updates: number of updates of Adam; a cosine schedule takes the learning rate to zero.
        batch: number of fresh samples per update.
        learning_rate: initial learning rate.
        hidden: number of units in each of the two hidden layers.
        epsilon: bound of the lies in training, in the unit of positions.
    """

    updates: int = 4000
    batch: int = 64
    learning_rate: float = 3e-3
    hidden: int = 64
    epsilon: float = 1.0


@dataclass(frozen=True)
class Group:
    """Policies that train together, one member for every pair of weight and seed.

    The samples depend only on the seeds: all methods see the same samples, and so do members with
    the same seed.

    Attributes:
        weights: values of λ.
        seeds: seeds of the samples and the initial weights.
    """

    weights: tuple[float, ...]
    seeds: tuple[int, ...]

    @property
    def pairs(self) -> list[tuple[float, int]]:
        """Weight and seed of every member."""
        return [(weight, seed) for weight in self.weights for seed in self.seeds]


def train(method: Method, case: Case, budget: Budget, group: Group) -> Members:
    """Train the members of a group."""
    members = Members(case, [seed for _, seed in group.pairs], budget.hidden, method.front)
    optimizer = torch.optim.Adam(members.parameters(), lr=budget.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, budget.updates)
    generator = torch.Generator().manual_seed(_seed_of(group, "samples"))
    noise_source = torch.Generator().manual_seed(_seed_of(group, "noise"))
    minimax, noise = _minimax(method, case, budget, group), noise_of(method, case, budget.epsilon)
    for _ in range(budget.updates):
        samples = draw(case, budget.batch, len(group.seeds), generator)
        x = samples.x.repeat(1, len(group.weights), 1).flatten(0, 1)
        label = samples.label.repeat(1, len(group.weights)).flatten()
        data = {"label": label}
        if noise is not None:
            lies = noise(members, x, noise_source)
            groups = membership(case.sources, x, 1)
            x, data["liars"] = lies.worst, touched(lies.worst - lies.origin, groups)

        def task(output: torch.Tensor, label: torch.Tensor = label) -> torch.Tensor:
            return members.count * cross_entropy(output, label)

        loss = task(members(x)) if minimax is None else minimax(members, x, task, data).total
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return members.requires_grad_(False)


def _minimax(method: Method, case: Case, budget: Budget, group: Group) -> Minimax | None:
    if method.training in ("plain", "lies"):
        return None
    penalty = None
    if method.penalty is not None:
        weights = torch.tensor([weight for weight, _ in group.pairs])
        penalty = SideBySide(penalty=method.penalty(case), weights=weights)
    return Minimax(
        adversary_of(method, case, budget.epsilon),
        penalty,
        weight=float(len(group.pairs)),
        seed=_seed_of(group, "adversary"),
    )


def _seed_of(group: Group, part: str) -> int:
    return derive(group.seeds[0], part, *group.seeds[1:])
