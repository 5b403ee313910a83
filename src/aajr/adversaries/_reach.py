"""Proof that a perturbation reached the policy."""

from __future__ import annotations

import torch
from torch import Tensor

from aajr._modes import Policy
from aajr.trajectory import Trajectory


class Watched:
    """The policy, with a record of whether some call received a perturbed input.

    Args:
        policy: the victim.
        x: clean inputs, ``[batch, *event]``.
    """

    def __init__(self, policy: Policy, x: Tensor) -> None:
        self.policy = policy
        self.x = x
        self.called = False
        self.perturbed = False

    @property
    def remembers(self) -> bool:
        """Whether the policy reads a memory beside its input."""
        return bool(getattr(self.policy, "remembers", False))

    def __call__(self, point: Tensor, *memory: Tensor) -> Tensor:
        """π(point)."""
        self.called = True
        self.perturbed = self.perturbed or not self._clean(point.detach())
        return self.policy(point, *memory)

    def _clean(self, point: Tensor) -> bool:
        rows = len(self.x)
        if point.shape[1:] != self.x.shape[1:] or len(point) % rows:
            return False
        return all(torch.equal(part, self.x) for part in torch.split(point, rows))


def reached(watched: Watched, trajectory: Trajectory) -> bool:
    """Whether the perturbation reached the policy.

    1. If the policy was called in the search and a perturbed point has a loss, then some call
       received a perturbed point.
    2. No row moved and then returned its clean input, unless the search itself stepped back there
       or the clean input has the highest loss of all points of the row.
    """
    x, points, losses = trajectory.origin, trajectory.points, trajectory.losses
    settled = (trajectory.worst - x).abs().flatten(1).amax(1) == 0
    if watched.perturbed and not bool(settled.any()):
        return True
    moved = (points != x).flatten(2).any(2)
    scored = bool(moved[: len(losses)].any())
    seen = watched.perturbed or not (watched.called and scored)
    returned = ~moved[1:].all(0)
    justified = torch.zeros_like(settled)
    if len(losses) == len(points):
        justified = ~moved[0] & (losses[0] >= losses.amax(0))
    return seen and bool((~settled | ~moved.any(0) | returned | justified).all())
