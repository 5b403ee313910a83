"""The worst cases that attacks find on the same states: measured, never proven."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from aajr._modes import Policy, evaluating
from aajr._seeds import derive
from aajr.adversaries import (
    Adversary,
    MaskedGradientWarning,
    ProjectedGradientAscent,
    RandomSearch,
)
from aajr.certification._budget import AuditBudget
from aajr.certification._radius import bisect, checked_heads, margin_forms
from aajr.certification._searches import BlackBoxSearch
from aajr.geometry import Ball
from aajr.trajectory import Objective, Reference, Trajectory

_BISECTIONS = 24


@dataclass(frozen=True)
class ActionChange:
    """ℓ(u) = max over heads and actions j ≠ a of u_j - u_a: positive where an action changes.

    Attributes:
        heads: sizes of the heads; None for one head.
    """

    heads: tuple[int, ...] | None

    def __call__(self, output: Tensor, reference: Reference) -> Tensor:
        """Negative least margin of the clean action, ``[batch]``."""
        forms = margin_forms(reference.outputs, self.heads)
        return -(forms @ output.unsqueeze(-1)).squeeze(-1).amin(1)


@dataclass(frozen=True, eq=False)
class AttackResult:
    """What one kind of attack found, per state.

    Attributes:
        change: largest ‖π(x + δ) - π(x)‖₂, ``[batch]``.
        gain: rise of the objective over its clean value, ``[batch]``.
        worst: point of the highest objective, ``[batch, *event]``.
        reference: clean inputs and outputs.
        zero_gradient: whether the objective's gradient was zero throughout, ``[batch]``.
        radius: smallest size of a δ seen that changes an action, infinite if none,
            ``[batch]``; None without heads.
    """

    change: Tensor
    gain: Tensor
    worst: Tensor
    reference: Reference
    zero_gradient: Tensor
    radius: Tensor | None


@dataclass(frozen=True, eq=False)
class Attacks:
    """The attacks of an audit, all on one set of states.

    Attributes:
        policy: the policy.
        x: the states, ``[batch, *event]``.
        ball: the threat set.
        objective: what the adversary maximises.
        heads: sizes of the discrete heads; an empty tuple for a policy without heads.
        budget: number of steps, restarts and queries.
        seed: seed of all randomness; each attack has its own generator.
        data: tensors with one row per state that the objective reads.
    """

    policy: Policy
    x: Tensor
    ball: Ball
    objective: Objective
    heads: tuple[int, ...]
    budget: AuditBudget
    seed: int
    data: Mapping[str, Tensor]

    def random(self) -> AttackResult:
        """Uniform draws, as many as the black-box search makes queries."""
        queries = self.budget.queries
        return self._found(lambda goal: [RandomSearch(self.ball, goal, queries)], "random")

    def black_box(self) -> AttackResult:
        """Random search on the surface of the ball, without gradients."""
        queries = self.budget.queries
        return self._found(lambda goal: [BlackBoxSearch(self.ball, goal, queries)], "black box")

    def gradient(self) -> AttackResult:
        """Projected gradient ascent with restarts, once with long and once with short steps."""
        ascent = ProjectedGradientAscent(
            self.ball, steps=self.budget.steps, restarts=self.budget.restarts, select="best"
        )
        sizes = (self.ball.epsilon / 2, 2.5 * self.ball.epsilon / self.budget.steps)
        return self._found(
            lambda goal: [replace(ascent, objective=goal, step_size=size) for size in sizes],
            "gradient",
        )

    def _found(
        self, adversaries: Callable[[Objective], Sequence[Adversary]], name: str
    ) -> AttackResult:
        generator = torch.Generator(device=self.x.device).manual_seed(derive(self.seed, name))
        runs = [self._run(adversary, generator) for adversary in adversaries(self.objective)]
        highest, point = _highest(runs)
        worst = [point]
        if self.heads:
            goal = ActionChange(self.heads)
            worst.append(_highest([self._run(a, generator) for a in adversaries(goal)])[1])
        with torch.no_grad(), evaluating(self.policy):
            clean = self.policy(self.x)
            changes = [(self.policy(w) - clean).flatten(1).norm(dim=1) for w in worst]
            base = self.objective(clean, runs[0].reference)
            radius = self._radius(clean, worst) if self.heads else None
        zero = [(run.gradients.flatten(2) == 0).all(2).all(0) for run in runs]
        return AttackResult(
            change=torch.stack(changes).amax(0),
            gain=highest - base,
            worst=point,
            reference=runs[0].reference,
            zero_gradient=torch.stack(zero).all(0),
            radius=radius,
        )

    def _run(self, adversary: Adversary, generator: torch.Generator) -> Trajectory:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MaskedGradientWarning)  # the audit warns itself
            return adversary(self.policy, self.x, generator, self.data)

    def _radius(self, clean: Tensor, worst: Sequence[Tensor]) -> Tensor:
        action = actions(clean, self.heads)
        return torch.stack([self._ray(action, point) for point in worst]).amin(0)

    def _ray(self, action: Tensor, worst: Tensor) -> Tensor:
        """Smallest size found on the ray from x to the worst point at which an action changes."""
        delta = worst - self.x

        def keeps(share: Tensor) -> Tensor:
            return ~self._differs(action, self.x + _rows(share, delta) * delta)

        near = self.x.new_zeros(len(self.x))
        changed = self._differs(action, worst)
        _, far = bisect(keeps, near, torch.ones_like(near), _BISECTIONS)
        size = self.ball.size(_rows(far, delta) * delta).reshape(len(far), -1).amax(1)
        return torch.where(changed, size, torch.inf)

    def _differs(self, action: Tensor, point: Tensor) -> Tensor:
        return (actions(self.policy(point), self.heads) != action).any(1)


def _highest(runs: Sequence[Trajectory]) -> tuple[Tensor, Tensor]:
    """The highest loss of several runs, and its point, per state."""
    losses = torch.stack([run.losses.amax(0) for run in runs])
    points = torch.stack([run.worst for run in runs])
    best = losses.argmax(0)
    return losses.amax(0), points[best, torch.arange(len(best), device=best.device)]


def actions(output: Tensor, heads: Sequence[int]) -> Tensor:
    """Argmax of every head, ``[batch, heads]``."""
    parts = torch.split(output, checked_heads(output, heads), -1)
    return torch.stack([part.argmax(-1) for part in parts], -1)


def _rows(factor: Tensor, like: Tensor) -> Tensor:
    return factor.reshape(-1, *[1] * (like.ndim - 1))
