"""What the steps of an adversary really did to its objective."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from aajr._modes import Policy, evaluating
from aajr._vectors import length, per_row, unit
from aajr.jacobian import directional_curvature
from aajr.theory._numbers import ratio
from aajr.trajectory import Objective, Reference, Trajectory


@dataclass(frozen=True, eq=False)
class Ascent:
    """Measurements of every step of a trajectory, each ``[K, batch]``.

    Attributes:
        gain: F(δ_{k+1}) - F(δ_k).
        length: ‖δ_{k+1} - δ_k‖₂, over all agents of a row.
        slope: ⟨∇F(δ_k), d⟩ for the unit direction d of the step.
        smoothness: |dᵀ∇²F(δ_k) d|, the effective smoothness measured at the start of the step.
        gradient_norm: ‖∇F(δ_k)‖₂ on attackable features.
        rounding: change of F that rounding alone can explain.
    """

    gain: Tensor
    length: Tensor
    slope: Tensor
    smoothness: Tensor
    gradient_norm: Tensor
    rounding: Tensor

    @property
    def stable_length(self) -> Tensor:
        """2⟨g, d⟩/|dᵀ∇²F d|: the longest step on which the quadratic model does not fall."""
        return ratio(2 * self.slope.clamp_min(0), self.smoothness)

    @property
    def falls(self) -> Tensor:
        """Where the step lowered the objective by more than rounding, boolean."""
        return self.gain < -self.rounding


@torch.no_grad()
def measure_ascent(policy: Policy, objective: Objective, trajectory: Trajectory) -> Ascent:
    """Gain, slope and curvature of the objective along the steps really made.

    Costs one forward pass at every point and one nested forward-mode pass at every step.

    Args:
        policy: map from ``[batch, *event]`` to ``[batch, *output]``.
        objective: ℓ, what the trajectory climbed.
        trajectory: what the adversary did.

    Returns:
        The measurements; rows that did not move have length, slope and smoothness zero.

    Example:
        >>> import torch, aajr
        >>> objective = lambda output, reference: -output.square().sum(1)
        >>> attack = aajr.ProjectedGradientAscent(
        ...     aajr.Ball("l2", 9.0), objective, steps=1, step_size=1.5, step_direction="raw",
        ...     random_start=False)
        >>> policy, x = (lambda x: x), torch.ones(1, 1)
        >>> ascent = measure_ascent(policy, objective, attack(policy, x, torch.Generator()))
        >>> ascent.gain, ascent.stable_length, ascent.falls
        (tensor([[-3.]]), tensor([[2.]]), tensor([[True]]))
    """
    steps = trajectory.steps.flatten(2)
    rows = torch.arange(steps.shape[1], device=steps.device)
    starts = trajectory.points[:-1].flatten(0, 1)
    directions = unit(trajectory.steps.flatten(0, 1), per_row(starts))
    with evaluating(policy):
        loss = loss_of(policy, objective, trajectory.reference.rows(rows.repeat(len(steps))))
        values, slope, second = directional_curvature(loss, starts, directions)
        last = objective(policy(trajectory.points[-1]), trajectory.reference)
    shape = steps.shape[:2]
    losses = torch.cat([values.reshape(shape), last.unsqueeze(0)])
    size = losses.abs().amax(0).clamp_min(1.0)
    return Ascent(
        gain=losses[1:] - losses[:-1],
        length=length(steps, (2,)).squeeze(2),
        slope=slope.reshape(shape),
        smoothness=second.abs().reshape(shape),
        gradient_norm=length(trajectory.gradients.flatten(2), (2,)).squeeze(2),
        rounding=(16 * torch.finfo(size.dtype).eps * size).expand(shape),
    )


def loss_of(
    policy: Policy, objective: Objective, reference: Reference
) -> Callable[[Tensor], Tensor]:
    """x + δ ↦ ℓ(π(x + δ)), ``[batch, *event]`` to ``[batch]``."""
    return lambda points: objective(policy(points), reference)
