"""The base of adversaries on structured threat sets."""

from __future__ import annotations

from abc import abstractmethod
from typing import final

import torch
from torch import Tensor

from aajr._checks import check_promise
from aajr._modes import Policy
from aajr.adversaries._base import Adversary
from aajr.adversaries._evaluation import checked_loss, loss_at
from aajr.adversaries._record import two_points
from aajr.geometry import FiniteSet, Sparse, assemble_choices
from aajr.trajectory import Objective, Reference, Trajectory


class StructuredAdversary(Adversary):
    """An adversary on a set that is not convex; all points of its trajectory are checked.

    A subclass writes :meth:`search`.
    """

    ball: FiniteSet | Sparse
    objective: Objective

    @property
    def memory(self) -> int:
        """Number of earlier observations of every sample that it reads as ``data["history"]``."""
        return self.ball.memory if isinstance(self.ball, FiniteSet) else 0

    @abstractmethod
    def search(
        self, policy: Policy, reference: Reference, generator: torch.Generator
    ) -> Trajectory:
        """Search around ``reference.inputs``; the policy is in evaluation mode."""

    @final
    def run(self, policy: Policy, reference: Reference, generator: torch.Generator) -> Trajectory:
        """Search, then check that every point is one of the set."""
        trajectory = self.search(policy, reference, generator)
        x = reference.inputs
        for point in (*trajectory.points, trajectory.worst):
            inside = self.ball.contains(point - x, x, reference.data)
            check_promise(bool(inside.all()), f"{type(self).__name__} left its threat set")
        return trajectory


class ChoiceScorer:
    """The loss of a choice, which gives every group an option, 0 for none. Passes are counted."""

    def __init__(
        self,
        policy: Policy,
        objective: Objective,
        reference: Reference,
        options: Tensor,
        members: Tensor,
    ) -> None:
        self.policy = policy
        self.objective = objective
        self.reference = reference
        self.options = options
        self.members = members
        self.passes = 0

    @property
    def nothing(self) -> Tensor:
        """The choice that changes no group, ``[batch, groups]``."""
        shape = (self.reference.inputs.shape[0], len(self.members))
        return torch.zeros(shape, dtype=torch.long, device=self.options.device)

    @property
    def clean(self) -> Tensor:
        """Loss without a change, ``[batch]``; it needs no pass."""
        with torch.no_grad():
            return checked_loss(self.objective, self.reference.outputs, self.reference)

    @torch.no_grad()
    def __call__(self, choice: Tensor) -> Tensor:
        """Losses ``[batch]`` of choices ``[batch, groups]``, by one pass."""
        self.passes += 1
        delta = assemble_choices(self.options, choice, self.members)
        point = self.reference.inputs + delta
        return loss_at(self.policy, self.objective, point, self.reference)

    def trajectory(self, choice: Tensor, loss: Tensor, event_dims: int) -> Trajectory:
        """The trajectory from the clean inputs to the chosen ones; its gradients are zero."""
        x = self.reference.inputs
        worst = x + assemble_choices(self.options, choice, self.members)
        losses = (self.clean, loss)
        return two_points(self.reference, x, worst, losses, event_dims, 1 + self.passes)
