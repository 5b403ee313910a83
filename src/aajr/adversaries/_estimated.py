"""Ascent on estimates of the gradient: smoothed, or from queries alone."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from aajr._checks import check_count, check_number
from aajr._modes import Policy
from aajr.adversaries._base import Adversary
from aajr.adversaries._evaluation import loss_and_gradient, loss_at
from aajr.adversaries._objectives import Divergence
from aajr.adversaries._record import highest
from aajr.adversaries._restarts import higher_loss, warn_if_masked
from aajr.geometry import Ball
from aajr.trajectory import Objective, Reference, Trajectory


class Estimate(NamedTuple):
    """An estimated gradient ``[batch, *event]`` and its cost in passes of the whole batch."""

    gradient: Tensor
    forward: int
    backward: int


@dataclass(frozen=True, eq=False)
class EstimatedAscent(Adversary):
    """δ_{k+1} = P_Δ(δ_k + η_k S(ĝ_k)), η_k = η/√(k+1); the best point is kept.

    The step sizes do not depend on the number of steps, so a longer search begins with the steps
    of a shorter one and never finds a lower loss.

    Attributes:
        ball: the threat set.
        objective: ℓ, (output, reference) to losses ``[batch]``.
        steps: number K of steps; each takes a query to score the new point.
        samples: draws per estimate.
        radius: standard deviation of the draws, in units of ε and the ball's scale. The draws may
            lie outside the ball.
        step_size: η of the first step, ε by default.
        restarts: searches, the first from δ = 0 and the others from uniform points.
    """

    ball: Ball
    objective: Objective = field(default_factory=Divergence)
    steps: int = 10
    samples: int = 10
    radius: float = 0.1
    step_size: float | None = None
    restarts: int = 1

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        check_count("samples", self.samples)
        check_count("restarts", self.restarts)
        check_number("radius", self.radius, exclusive=True)
        if self.step_size is not None:
            check_number("step_size", self.step_size, exclusive=True)

    @abstractmethod
    def estimate(
        self, policy: Policy, reference: Reference, point: Tensor, generator: torch.Generator
    ) -> Estimate:
        """ĝ at the point ``[batch, *event]``."""

    def run(self, policy: Policy, reference: Reference, generator: torch.Generator) -> Trajectory:
        """Ascend; the gradients of the trajectory are zero where only queries were used."""
        result = self._ascend(policy, reference, torch.zeros_like(reference.inputs), generator)
        for _ in range(self.restarts - 1):
            start = self.ball.sample(reference.inputs, generator)
            result = higher_loss(result, self._ascend(policy, reference, start, generator))
        if result.backward_passes:
            warn_if_masked(result, self.ball.epsilon)
        return result

    def _ascend(
        self, policy: Policy, reference: Reference, delta: Tensor, generator: torch.Generator
    ) -> Trajectory:
        x, ball, around = reference.inputs, self.ball, self.ball.around(reference.inputs)
        size = ball.epsilon if self.step_size is None else self.step_size
        points, gradients, forward, backward = [x + delta], [], 0, 0
        losses = [loss_at(policy, self.objective, points[0], reference)]
        for k in range(self.steps):
            gradient, ahead, back = self.estimate(policy, reference, points[-1], generator)
            forward, backward = forward + ahead, backward + back
            gradients.append(around.masked(gradient))
            step = size / (k + 1) ** 0.5 * around.steepest(gradients[-1])
            delta = around.project_scaled(delta + step)
            points.append(x + delta)
            losses.append(loss_at(policy, self.objective, points[-1], reference))
        stacked, scored, pushed = (torch.stack(t) for t in (points, losses, gradients))
        return Trajectory(
            reference=reference,
            points=stacked,
            gradients=pushed if backward else torch.zeros_like(pushed),
            losses=scored,
            worst=highest(stacked, scored),
            event_dims=ball.budget_dims,
            forward_passes=1 + len(losses) + forward,
            backward_passes=backward,
        )

    def _draws(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Standard normal on attackable features, ``[samples, batch, *event]``."""
        shape = (self.samples, *x.shape)
        noise = torch.randn(shape, generator=generator, device=x.device, dtype=x.dtype)
        return noise * self.ball.attackable(x)

    def _scale(self, x: Tensor) -> Tensor:
        """s, input units per unit of ε, ``[batch, *event]``."""
        return replace(self.ball, norm="linf").steepest(torch.ones_like(x))


@dataclass(frozen=True, eq=False)
class SmoothedAscent(EstimatedAscent):
    """Ascent on ĝ = mean of ∇F at jittered points, the gradient of F smoothed by a Gaussian.

    For a policy whose gradient at a single point is not informative: the policy saturates or is
    clipped, or it is rough on a scale below ε. Where the gradient is zero almost
    everywhere (rounding, step functions), the average is zero too; use :class:`NES`.

    Attributes:
        ball: the threat set.
        objective: ℓ, (output, reference) to losses ``[batch]``.
        steps: number K of steps.
        samples: gradients per step.
        radius: standard deviation of the jitter, in units of ε and the ball's scale.
        step_size: η of the first step, ε by default; step k has η/√(k+1).
        restarts: searches, the first from δ = 0 and the others from uniform points.

    Example:
        >>> import torch
        >>> rough = lambda x: x + 0.1 * torch.sin(100 * x)
        >>> attack = SmoothedAscent(Ball("linf", 0.5), lambda u, reference: u.sum(1), samples=100)
        >>> attack(rough, torch.full((1, 2), 0.03), torch.Generator().manual_seed(0)).points[1]
        tensor([[0.5300, 0.5300]])

    Source: Athalye et al., Obfuscated gradients give a false sense of security, 2018,
    https://arxiv.org/abs/1802.00420 (expectation over transformation).
    """

    radius: float = 0.25

    def estimate(
        self, policy: Policy, reference: Reference, point: Tensor, generator: torch.Generator
    ) -> Estimate:
        """Mean gradient at ``samples`` jittered points."""
        width = self.radius * self.ball.epsilon * self._scale(point)
        total = torch.zeros_like(point)
        for noise in self._draws(point, generator):
            place = point + width * noise
            total = total + loss_and_gradient(policy, self.objective, place, reference)[1]
        return Estimate(total / self.samples, self.samples, self.samples)
