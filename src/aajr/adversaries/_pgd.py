"""Projected gradient ascent."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from aajr import _shared
from aajr._modes import Policy
from aajr.adversaries._base import Adversary
from aajr.adversaries._evaluation import (
    checked_loss,
    in_parts,
    joined,
    loss_and_gradient,
    loss_at,
    over_budgets,
    over_rows,
    part_of,
)
from aajr.adversaries._objectives import Divergence
from aajr.adversaries._record import Record
from aajr.adversaries._restarts import higher_loss, warn_if_masked
from aajr.adversaries._step_rules import STEP_RULES, Arc, Passes
from aajr.geometry import Around, Ball
from aajr.theory import along_direction, loss_of
from aajr.trajectory import Objective, Reference, Trajectory, output_at


@_shared.documented
@dataclass(frozen=True, eq=False)
class ProjectedGradientAscent(_shared.ProjectedGradientAscent, Adversary):
    """The random start is uniform in an L∞ ball.

    In an l2 ball it is a uniform point of the ball, multiplied by a uniform number in [0, 1).

    Example:
        >>> import torch
        >>> objective = lambda output, reference: output.sum(1)
        >>> pgd = ProjectedGradientAscent(Ball("linf", 0.5), objective, random_start=False)
        >>> pgd(torch.tanh, torch.zeros(1, 2), torch.Generator()).worst
        tensor([[0.5000, 0.5000]])
    """

    ball: Ball
    objective: Objective = field(default_factory=Divergence)
    step_size: float | None = None

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
        record = Record(x, self.steps, self.record, best=self.select == "best")
        point = record.place(self.start(around, generator))
        last, outputs, extra = None, [], Passes()
        for _ in range(self.steps):
            loss, gradient, output = self._evaluate(policy, point, reference)
            gradient = record.visit(point, loss, around.masked(gradient))
            moved, passes = self._step(policy, reference, around, point, gradient, loss)
            extra = Passes(extra.forward + passes.forward, extra.curvature + passes.curvature)
            point = record.place(moved)
            outputs += output
        if self.keep_outputs:
            outputs.append(
                in_parts(
                    lambda rows: output_at(policy, point[rows], part_of(reference, rows)),
                    len(point),
                )
            )
            last = self._loss(outputs[-1], reference).detach()
        elif self.select == "best":
            last = loss_at(policy, self.objective, point, reference)
        points, gradients, losses, worst = record.result(point, last)
        return Trajectory(
            reference=reference,
            points=points,
            gradients=gradients,
            losses=losses,
            worst=worst,
            event_dims=self.ball.budget_dims,
            forward_passes=1 + self.steps + (last is not None) + extra.forward,
            backward_passes=self.steps,
            curvature_passes=extra.curvature,
            outputs=torch.stack(outputs) if self.keep_outputs else None,
        )

    def start(self, around: Around, generator: torch.Generator) -> Tensor:
        """The first x + δ; in l2 drawn nearer to x, because most of a ball is near its surface."""
        x = around.x
        if not self.random_start:
            return x
        if self.ball.norm == "linf":
            return around.random(generator)
        delta, size = around.sample(generator), x.shape[:1]
        share = torch.rand(size, generator=generator, device=x.device, dtype=x.dtype)
        return around.place(delta.mul_(over_rows(share, x)))

    def _evaluate(
        self, policy: Policy, point: Tensor, reference: Reference
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Loss, gradient and the output with its graph, if outputs are kept."""
        if not self.keep_outputs:
            return *loss_and_gradient(policy, self.objective, point, reference), []
        kept: list[Tensor] = []
        loss, gradient = loss_and_gradient(policy, self.objective, point, reference, kept)
        return loss, gradient, [joined(kept)]

    def _loss(self, output: Tensor, reference: Reference) -> Tensor:
        return checked_loss(self.objective, output, reference)

    @torch.no_grad()
    def _step(
        self,
        policy: Policy,
        reference: Reference,
        around: Around,
        point: Tensor,
        gradient: Tensor,
        loss: Tensor,
    ) -> tuple[Tensor, Passes]:
        def score(candidate: Tensor, rows: Tensor) -> Tensor:
            part = reference.rows(rows)
            return loss_at(policy, self.objective, candidate, part)

        def curvature(d: Tensor) -> Tensor:
            def bend(rows: slice) -> Tensor:
                loss = loss_of(policy, self.objective, part_of(reference, rows))
                return along_direction(loss, point[rows], d[rows])[2]

            return in_parts(bend, len(d))

        arc = Arc(
            point=point,
            gradient=gradient,
            direction=self._direction(around, gradient),
            loss=loss,
            moved=partial(around.moved, scaled=self._steepest),
            score=score,
            curvature=curvature,
            size=lambda v: over_budgets(self.ball.size(v), self.ball.budget_dims),
        )
        return STEP_RULES[self.step_rule](arc, self._step_size)

    @property
    def _steepest(self) -> bool:
        return self.step_direction == "steepest"

    def _direction(self, around: Around, gradient: Tensor) -> Tensor:
        if self.step_direction == "raw":
            return gradient
        return around.steepest(gradient) if self._steepest else around.signs(gradient)


def fgsm(ball: Ball, objective: Objective) -> ProjectedGradientAscent:
    """The fast gradient (sign) method: one steepest step of size ε from the clean input.

    δ = ε s·sign(g) on linf and ε s²g/‖sg‖₂ on l2, with g the gradient at δ = 0. The gradient of a
    divergence is zero there, so give another objective.

    Args:
        ball: the threat set.
        objective: ℓ, (output, reference) to losses ``[batch]``.

    Returns:
        Projected gradient ascent of one step.

    Example:
        >>> import torch
        >>> attack = fgsm(Ball("linf", 0.5), lambda output, reference: output.sum(1))
        >>> attack(torch.tanh, torch.zeros(1, 2), torch.Generator()).worst
        tensor([[0.5000, 0.5000]])

    Source: Goodfellow et al., Explaining and harnessing adversarial examples, 2015,
    https://arxiv.org/abs/1412.6572.
    """
    size = ball.epsilon or None
    return ProjectedGradientAscent(ball, objective, steps=1, step_size=size, random_start=False)
