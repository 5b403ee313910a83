"""Measurements of what each step of an adversary did to its objective."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from aajr._modes import Policy, evaluating
from aajr._vectors import length, per_row, unit
from aajr.jacobian import input_gradient
from aajr.theory._numbers import ratio
from aajr.trajectory import Objective, Reference, Trajectory, output_at

_SUMMARY = (
    "effective_smoothness",
    "step_length",
    "step_to_limit",
    "unstable_share",
    "nonmonotone_share",
)


@dataclass(frozen=True, eq=False)
class Ascent:
    """Measurements of every step of a trajectory, each ``[K, batch]``.

    Attributes:
        gain: F(δ_{k+1}) - F(δ_k).
        length: ‖δ_{k+1} - δ_k‖₂, over all agents of a row.
        slope: ⟨∇F(δ_k), d⟩ for the unit direction d of the step.
        smoothness: ``|dᵀ∇²F(δ_k) d|``, the effective smoothness measured at the start of the step.
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
        """``2⟨g, d⟩/|dᵀ∇²F d|``: the longest step that cannot lower the quadratic model of F."""
        return ratio(2 * self.slope.clamp_min(0), self.smoothness)

    def summary(self) -> dict[str, float]:
        """Numbers for a log, over the steps that moved.

        Returns:
            ``effective_smoothness`` mean ``|dᵀ∇²F d|``; ``step_length`` mean ``length``;
            ``step_to_limit`` median of ``length`` over ``stable_length``; ``unstable_share`` share
            of steps beyond ``stable_length``; ``nonmonotone_share`` share of steps that lowered the
            objective.
        """
        moved = self.length > 0
        if not bool(moved.any()):
            return dict.fromkeys(_SUMMARY, 0.0)
        share = (self.length / self.stable_length)[moved]
        values = (
            self.smoothness[moved].mean(),
            self.length[moved].mean(),
            share.median(),
            (share > 1).double().mean(),
            self.falls[moved].double().mean(),
        )
        return {name: float(value) for name, value in zip(_SUMMARY, values, strict=True)}

    @property
    def falls(self) -> Tensor:
        """Where the step lowered the objective by more than rounding, boolean."""
        return self.gain < -self.rounding


def measure_ascent(policy: Policy, objective: Objective, trajectory: Trajectory) -> Ascent:
    """Measure gain, slope and curvature of the objective along the steps really made.

    Costs one forward pass at every point and two backward passes at every step.

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
        >>> ascent.gain.round(), ascent.stable_length, ascent.falls
        (tensor([[-3.]]), tensor([[2.]]), tensor([[True]]))
    """
    steps = trajectory.steps.flatten(2)
    rows = torch.arange(steps.shape[1], device=steps.device)
    starts = trajectory.points[:-1].flatten(0, 1)
    directions = unit(trajectory.steps.flatten(0, 1), per_row(starts))
    with evaluating(policy):
        loss = loss_of(policy, objective, trajectory.reference.rows(rows.repeat(len(steps))))
        values, slope, second = along_direction(loss, starts, directions)
        with torch.no_grad():
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
    return lambda points: objective(output_at(policy, points, reference), reference)


def along_direction(
    loss: Callable[[Tensor], Tensor], x: Tensor, d: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """F, ⟨∇F, d⟩ and dᵀ∇²F d of every row, exact by two backward passes.

    Args:
        loss: F, ``[batch, *event]`` to ``[batch]``, independent between rows.
        x: points, ``[batch, *event]``.
        d: directions, ``[batch, *event]``.

    Returns:
        Three tensors ``[batch]``, detached.

    Raises:
        ValueError: a loss cut off from its input, or an operation without second derivatives.

    Example:
        >>> import torch
        >>> cube = lambda x: x.pow(3).sum(1)
        >>> along_direction(cube, torch.tensor([[2.0]]), torch.tensor([[1.0]]))
        (tensor([8.]), tensor([12.]), tensor([12.]))
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        values = loss(x)
        gradient = input_gradient(values, x, torch.ones_like(values), create_graph=True)
        slope = (gradient * d).flatten(1).sum(1)
        second = torch.zeros_like(x)
        if slope.requires_grad:
            second = _second_backward(slope, x)
    return values.detach(), slope.detach(), (second * d).flatten(1).sum(1)


def _second_backward(slope: Tensor, x: Tensor) -> Tensor:
    try:
        (second,) = torch.autograd.grad(slope.sum(), x, allow_unused=True)
    except RuntimeError as error:
        raise ValueError(
            f"the policy or the objective has no second derivative ({error}); use eager kernels, "
            "and step_rule='backtracking' for an inner loop without second derivatives"
        ) from error
    return torch.zeros_like(x) if second is None else second
