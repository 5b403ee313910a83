"""A perturbation that was made earlier, such as the one that agents met while they collected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch

from aajr._modes import Policy
from aajr.adversaries._base import Adversary
from aajr.geometry import ThreatSet
from aajr.trajectory import Reference, Trajectory


@final
@dataclass(frozen=True, eq=False)
class Replayed(Adversary):
    r"""Gives back the perturbed inputs in ``data["perceived"]``, without a search.

    Use it where the adversary stands in the rollouts: the agents acted on what they perceived,
    x + δ, and a penalty shall be taken right there, along δ, at no cost of a second attack. The
    trajectory starts at x + δ and ends at x, with δ in place of the gradient. :class:`aajr.AAJR`
    then penalises

    .. math:: \|J(x+\delta)\,\delta/\|\delta\|\|^2_M

    and other penalties take the Jacobian at x + δ, or at x with ``points="origin"``.

    Attributes:
        ball: the threat set of the earlier attack. Perturbations outside it raise an error.

    Example:
        >>> import torch
        >>> from aajr import AAJR, Ball
        >>> g, x = torch.Generator(), torch.zeros(1, 2)
        >>> perceived = torch.tensor([[0.3, 0.0]])
        >>> policy = lambda x: x * torch.tensor([2.0, 5.0])
        >>> replayed = Replayed(Ball("linf", 0.3))
        >>> trajectory = replayed(policy, x, g, {"perceived": perceived})
        >>> AAJR(estimator="double_backward", fraction=1.0)(policy, trajectory, g)
        tensor(4.)
    """

    ball: ThreatSet
    needs: ClassVar[tuple[str, ...]] = ("perceived",)

    def run(self, policy: Policy, reference: Reference, generator: torch.Generator) -> Trajectory:
        """Read the perturbed inputs."""
        x, perceived = reference.inputs, reference.data["perceived"]
        return Trajectory(
            reference=reference,
            points=torch.stack([perceived, x]),
            gradients=(perceived - x).unsqueeze(0),
            losses=x.new_zeros(1, len(x)),
            worst=perceived,
            event_dims=self.ball.budget_dims,
        )
