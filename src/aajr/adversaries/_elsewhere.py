"""Attacks computed on a map other than the victim: its critic, or an imitation of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from aajr._modes import Policy
from aajr.adversaries._base import Adversary
from aajr.trajectory import Reference, Trajectory


class _OnAnotherMap(Adversary):
    """Has the ball and the required data of the inner search."""

    adversary: Adversary

    def __post_init__(self) -> None:
        object.__setattr__(self, "ball", self.adversary.ball)
        object.__setattr__(self, "needs", self.adversary.needs)


@dataclass(frozen=True, eq=False)
class AttackOn(_OnAnotherMap):
    """Runs an adversary on another map of the same input; the victim is never queried.

    With the map x ↦ V(x) and the objective :class:`aajr.LeastValue` it is the attack on a critic
    that reads the perturbed input: the policy gets the input with the lowest V.

    The points, gradients and losses are those of the map; the reference is the victim's. The
    backward passes are the map's.

    Attributes:
        target: the map, ``[batch, *event]`` to ``[batch, *output]``.
        adversary: the search, with its ball and objective.

    Example:
        >>> import torch
        >>> from aajr import Ball, LeastValue, ProjectedGradientAscent
        >>> value = lambda x: x.sum(1, keepdim=True)
        >>> search = ProjectedGradientAscent(Ball("linf", 0.5), LeastValue())
        >>> attack = AttackOn(value, search)
        >>> attack(torch.tanh, torch.zeros(1, 2), torch.Generator().manual_seed(0)).worst
        tensor([[-0.5000, -0.5000]])

    Source: Huang et al., Adversarial attacks on neural network policies, 2017,
    https://arxiv.org/abs/1702.02284; Zhang et al., 2020, https://arxiv.org/abs/2003.08938.
    """

    target: Policy
    adversary: Adversary

    def run(self, policy: Policy, reference: Reference, generator: torch.Generator) -> Trajectory:
        """Attack the map in place of the policy."""
        found = self.adversary(self.target, reference.inputs, generator, reference.data)
        return replace(found, reference=reference, forward_passes=1, curvature_passes=0)


@dataclass(frozen=True, eq=False)
class Transfer(_OnAnotherMap):
    """A black-box attack: the perturbation is computed on an imitation of the victim.

    It does not query the victim; ``imitation.queries`` counts the queries that the imitation took.
    The losses are the imitation's, and the gradients of the trajectory are zero.

    Attributes:
        imitation: see :func:`aajr.imitate`; any differentiable map of the victim's shape works.
        adversary: the search on the imitation, with its ball and objective.

    Example:
        >>> import torch
        >>> from aajr import Ball, ProjectedGradientAscent, imitate
        >>> g = torch.Generator().manual_seed(0)
        >>> copy = imitate(torch.tanh, torch.randn(256, 2, generator=g), g)
        >>> search = ProjectedGradientAscent(Ball("linf", 0.5), lambda u, reference: u.sum(1))
        >>> trajectory = Transfer(copy, search)(torch.tanh, torch.zeros(1, 2), g)
        >>> trajectory.worst, trajectory.backward_passes, copy.queries
        (tensor([[0.5000, 0.5000]]), 0, 256)

    Source: Papernot et al., Practical black-box attacks against machine learning, 2017,
    https://arxiv.org/abs/1602.02697; Inkawhich et al., Snooping attacks on deep RL, 2020,
    https://arxiv.org/abs/1905.11832.
    """

    imitation: Policy
    adversary: Adversary

    def run(self, policy: Policy, reference: Reference, generator: torch.Generator) -> Trajectory:
        """Attack the imitation in place of the policy."""
        found = self.adversary(self.imitation, reference.inputs, generator, reference.data)
        return replace(
            found,
            reference=reference,
            gradients=torch.zeros_like(found.gradients),
            forward_passes=1,
            backward_passes=0,
            curvature_passes=0,
            outputs=None,
        )
