"""Projected gradient ascent that sets its own step size."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from aajr._checks import check_choice, check_count
from aajr._modes import Policy
from aajr._shared import RECORDED, Recorded
from aajr.adversaries._base import Adversary
from aajr.adversaries._evaluation import loss_and_gradient, loss_at, over_rows
from aajr.adversaries._objectives import Divergence
from aajr.adversaries._record import Record
from aajr.adversaries._restarts import higher_loss, warn_if_masked
from aajr.geometry import Around, Ball
from aajr.trajectory import Objective, Reference, Trajectory

_INERTIA = 0.75
_ENOUGH = 0.75


@dataclass(frozen=True, eq=False)
class AutoPGD(Adversary):
    """APGD: ascent with momentum; η starts at 2ε and is halved per sample when progress stalls.

    z = P_Δ(δ_k + η S(g_k)), δ_{k+1} = P_Δ(δ_k + ¾(z - δ_k) + ¼(δ_k - δ_{k-1})). After every
    ``window`` steps a sample's η is halved and its search resumes at its best point, if fewer
    than three quarters of the steps raised the loss, or if neither η nor the best loss has
    changed since the last check.

    In the source, the times of the checks depend on the number of steps. Here they are evenly
    spaced, so a longer search begins with the steps of a shorter one and never finds a lower loss.

    Attributes:
        ball: the threat set Δ.
        objective: ℓ, (output, reference) to losses ``[batch]``.
        steps: number K of steps; each takes one gradient.
        restarts: independent searches; the worst point of all is kept, per sample.
        window: steps between two checks of progress.
        random_start: start uniformly in the ball instead of at δ = 0.
        record: ``trajectory`` keeps every point; ``last`` keeps only the last gradient, its point
            and the result, for large inputs.

    Raises:
        ValueError: non-positive counts, several restarts without ``random_start``.

    Example:
        >>> import torch
        >>> objective = lambda output, reference: output.sum(1)
        >>> attack = AutoPGD(Ball("linf", 0.5), objective, steps=5)
        >>> attack(torch.tanh, torch.zeros(1, 2), torch.Generator().manual_seed(0)).worst
        tensor([[0.5000, 0.5000]])

    Source: Croce and Hein, Reliable evaluation of adversarial robustness with an ensemble of
    diverse parameter-free attacks, 2020, https://arxiv.org/abs/2003.01690.
    """

    ball: Ball
    objective: Objective = field(default_factory=Divergence)
    steps: int = 20
    restarts: int = 1
    window: int = 4
    random_start: bool = True
    record: Recorded = "trajectory"

    def __post_init__(self) -> None:
        check_choice("record", self.record, RECORDED)
        for name in ("steps", "restarts", "window"):
            check_count(name, getattr(self, name))
        if self.restarts > 1 and not self.random_start:
            raise ValueError(
                f"restarts={self.restarts} would all give the same result; use random_start=True"
            )

    def run(self, policy: Policy, reference: Reference, generator: torch.Generator) -> Trajectory:
        """Ascend once per restart and keep, per sample, the restart with the highest loss."""
        result = self._ascend(policy, reference, generator)
        for _ in range(self.restarts - 1):
            result = higher_loss(result, self._ascend(policy, reference, generator))
        warn_if_masked(result, self.ball.epsilon)
        return result

    def _ascend(
        self, policy: Policy, reference: Reference, generator: torch.Generator
    ) -> Trajectory:
        x, around = reference.inputs, self.ball.around(reference.inputs)
        delta = around.sample(generator) if self.random_start else torch.zeros_like(x)
        climber = _Climber(around, 2 * self.ball.epsilon, delta, self.window)
        record = Record(x, self.steps, self.record, best=True)
        point = record.place(x + delta)
        for _ in range(self.steps):
            loss, gradient = loss_and_gradient(policy, self.objective, point, reference)
            gradient = record.visit(point, loss, around.masked(gradient))
            point = record.place(x + climber.step(loss, gradient))
        last = loss_at(policy, self.objective, point, reference)
        points, gradients, losses, worst = record.result(point, last)
        return Trajectory(
            reference=reference,
            points=points,
            gradients=gradients,
            losses=losses,
            worst=worst,
            event_dims=self.ball.budget_dims,
            forward_passes=2 + self.steps,
            backward_passes=self.steps,
        )


class _Climber:
    """The current, previous and best point of every sample, and its step size ``[batch]``."""

    def __init__(self, around: Around, size: float, delta: Tensor, window: int) -> None:
        self.around, self.x, self.window = around, around.x, window
        x = self.x
        self.delta = self.before = self.best = delta
        self.best_gradient = torch.zeros_like(x)
        self.best_loss = x.new_full(x.shape[:1], -torch.inf)
        self.last_loss = self.checked_loss = self.best_loss
        self.size = x.new_full(x.shape[:1], size)
        self.rises = torch.zeros_like(self.size)
        self.halved = torch.ones_like(self.size, dtype=torch.bool)
        self.count = 0

    def step(self, loss: Tensor, gradient: Tensor) -> Tensor:
        """Take in the loss and gradient at δ_k and return the next δ, ``[batch, *event]``."""
        better = loss > self.best_loss
        self.best_loss = torch.where(better, loss, self.best_loss)
        self.best = torch.where(over_rows(better, self.x), self.delta, self.best)
        self.best_gradient = torch.where(over_rows(better, self.x), gradient, self.best_gradient)
        self.rises = self.rises + (loss > self.last_loss)
        self.last_loss = loss
        if self.count and self.count % self.window == 0:
            gradient = self._check(gradient)
        self._move(gradient)
        self.count += 1
        return self.delta

    def _check(self, gradient: Tensor) -> Tensor:
        """Halve the step size of samples that stall, and move them back to their best points."""
        idle = ~self.halved & (self.best_loss == self.checked_loss)
        stalled = (self.rises < _ENOUGH * self.window) | idle
        rows = over_rows(stalled, self.x)
        self.size = torch.where(stalled, self.size / 2, self.size)
        self.delta = torch.where(rows, self.best, self.delta)
        self.before = torch.where(rows, self.best, self.before)
        self.last_loss = torch.where(stalled, self.best_loss, self.last_loss)
        self.halved, self.checked_loss = stalled, self.best_loss
        self.rises = torch.zeros_like(self.rises)
        return torch.where(rows, self.best_gradient, gradient)

    def _move(self, gradient: Tensor) -> None:
        size = over_rows(self.size, self.x)
        target = self.around.project_scaled(self.delta + size * self.around.steepest(gradient))
        if self.count:
            drift = _INERTIA * (target - self.delta) + (1 - _INERTIA) * (self.delta - self.before)
            target = self.around.project_scaled(self.delta + drift)
        self.delta, self.before = target, self.delta
