"""Attacks on few features, which are chosen by gradient times reach."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import final

import torch
from torch import Tensor

from aajr._checks import check_count
from aajr._modes import Policy
from aajr.adversaries._evaluation import checked_loss, loss_and_gradient, loss_at
from aajr.adversaries._objectives import Divergence
from aajr.adversaries._pgd import ProjectedGradientAscent
from aajr.adversaries._record import better, with_last
from aajr.adversaries._structured import ChoiceScorer, StructuredAdversary
from aajr.adversaries._structured_search import enumerate_choices, number_of_choices
from aajr.geometry import Sparse, check_event
from aajr.geometry.groups import group_sum, keep_best, on_features
from aajr.trajectory import Objective, Reference, Trajectory


@final
@dataclass(frozen=True, eq=False)
class SparseAscent(StructuredAdversary):
    """Chooses groups of features one by one, then ascends on the chosen ones.

    Each of k rounds takes the gradient g at the present δ and adds the free group with the
    largest Σ_i max(g_i l_i, g_i u_i), where l and u are the least and greatest change of a
    feature. The group moves to that corner. Projected gradient ascent on the chosen groups
    follows. If every feature is a group and the corners of the set are few, all corners are tried.

    Attributes:
        ball: the threat set.
        objective: what to maximise.
        steps: number of steps of the final ascent.
        restarts: number of restarts of the final ascent.
        enumerate_up_to: greatest number of corners to try; 0 for never.

    Example:
        >>> import torch
        >>> from aajr.geometry import Ball
        >>> objective = lambda output, reference: output.sum(1)
        >>> sparse = SparseAscent(Sparse(Ball("linf", 0.5), budget=1), objective)
        >>> weights = torch.tensor([1.0, -3.0])
        >>> g = torch.Generator().manual_seed(0)
        >>> sparse(lambda x: x * weights, torch.zeros(1, 2), g).worst
        tensor([[ 0.0000, -0.5000]])

    Source: Papernot et al., The limitations of deep learning in adversarial settings, 2016,
    https://arxiv.org/abs/1511.07528, whose saliency map is that of a single step.
    """

    ball: Sparse
    objective: Objective = field(default_factory=Divergence)
    steps: int = 10
    restarts: int = 1
    enumerate_up_to: int = 256

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        check_count("restarts", self.restarts)
        check_count("enumerate_up_to", self.enumerate_up_to, minimum=0)

    def search(
        self, policy: Policy, reference: Reference, generator: torch.Generator
    ) -> Trajectory:
        """Choose groups, ascend, and enumerate the corners if they are few."""
        x = reference.inputs
        check_event(self.ball.budget_dims, x)
        corner, support = groups_by_gradient(
            self.ball, policy, self.objective, reference, generator
        )
        ball = replace(
            self.ball.ball, mask=support & self.ball.attackable(x).bool(), coalition=None
        )
        ascent = ProjectedGradientAscent(
            ball, self.objective, self.steps, restarts=self.restarts, select="best"
        )
        found = ascent.run(policy, reference, generator)
        rounds = min(self.ball.budget, len(self.ball.members(x)))
        passes = rounds + found.forward_passes + 1
        loss = loss_at(policy, self.objective, x + corner, reference)
        worst, best = better(found.worst, found.losses.amax(0), x + corner, loss)
        with torch.no_grad():
            clean = checked_loss(self.objective, reference.outputs, reference)
        worst, best = better(worst, best, x, clean)
        if self._is_small(x):
            scorer = self._corners(policy, reference)
            choice, loss = enumerate_choices(scorer, self.ball.budget)
            tried = scorer.trajectory(choice, loss, 1).worst
            worst, best = better(worst, best, tried, loss)
            passes += scorer.passes
        return replace(
            with_last(found, worst, best),
            forward_passes=passes,
            backward_passes=found.backward_passes + rounds,
        )

    def _is_small(self, x: Tensor) -> bool:
        count = number_of_choices(len(self.ball.members(x)), 2, self.ball.budget)
        return self.ball.groups is None and count <= self.enumerate_up_to

    def _corners(self, policy: Policy, reference: Reference) -> ChoiceScorer:
        x = reference.inputs
        return ChoiceScorer(
            policy, self.objective, reference, self.ball.corners(x), self.ball.members(x)
        )


def groups_by_gradient(
    threat: Sparse,
    policy: Policy,
    objective: Objective,
    reference: Reference,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Choose k groups, each time the free group with the largest Σ_i max(g_i l_i, g_i u_i).

    Returns:
        Their corner δ and their features, both ``[batch, *event]``.
    """
    x = reference.inputs
    low, high = threat.corners(x)
    members = threat.members(x)
    # a divergence is flat at δ = 0: the gradient is taken at a random, dense probe
    probe = threat.ball.sample(x, generator) * threat.attackable(x)
    budgets = x.shape[: x.ndim - threat.budget_dims]
    chosen = torch.zeros(*budgets, len(members), dtype=torch.bool, device=x.device)
    corner = torch.zeros_like(x)
    for _ in range(min(threat.budget, len(members))):
        point = x + torch.where(corner == 0, probe, corner)
        _, gradient = loss_and_gradient(policy, objective, point, reference)
        far = torch.where(gradient * high >= gradient * low, high, low)
        gain = group_sum(gradient * far, members).masked_fill(chosen, 0)
        added = keep_best(gain, 1)
        corner = torch.where(on_features(added, members), far, corner)
        chosen = chosen | added
    return corner, on_features(chosen, members)
