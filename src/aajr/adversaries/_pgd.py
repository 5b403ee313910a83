"""Projected gradient ascent."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from aajr._checks import check_choice, check_count, check_number
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
from aajr.adversaries._record import RECORDED, Record, Recorded
from aajr.adversaries._restarts import warn_if_masked, worse
from aajr.adversaries._step_rules import STEP_RULES, Arc, Passes, StepRule
from aajr.geometry import Around, Ball
from aajr.theory import along_direction, loss_of
from aajr.trajectory import Objective, Reference, Trajectory

StepDirection = Literal["steepest", "raw", "sign"]


@dataclass(frozen=True, eq=False)
class ProjectedGradientAscent(Adversary):
    """δ_{k+1} = P_Δ(δ_k + η S(g_k)) with g_k = ∇ℓ(π(x + δ_k)) on the attackable features.

    P_Δ is the Euclidean projection, for steepest steps the one in the ball's scale.

    Attributes:
        ball: the threat set Δ.
        objective: ℓ, (output, reference) to losses ``[batch]``.
        steps: number K of steps.
        step_size: η, 2.5 ε / K by default, which can cross the ball by steepest steps.
        step_direction: S. ``steepest`` is the ball's own, s·sign(g) for linf and s²g/‖sg‖₂ for
            l2, of size ‖S/s‖_p = 1, so that η counts in units of ε. The others are what they say
            whatever the ball: ``raw`` is g, and ``sign`` is s·sign(g), which in an l2 ball need
            not come to rest at a maximum.
        step_rule: how far each sample goes. ``fixed`` is η; ``normalized`` is η/‖S(g)/s‖_p, equal
            lengths; ``stable`` shortens the step to ⟨g, d⟩/L_eff with the effective smoothness
            L_eff measured along it; ``backtracking`` halves it until the increase suffices. The
            last two never lower the objective; their extra passes are counted.
        random_start: start at random instead of at δ = 0: uniformly in an L∞ ball, and in an l2
            ball at a uniform share of such a point.
        restarts: independent searches; the worst point of all is kept, per sample.
        select: ``last`` settles on the last point, ``best`` on the highest loss seen, for one
            more forward pass. More than one restart needs ``best``.
        keep_outputs: keep π at every point attached to the parameters, for the secant estimator.
        record: ``trajectory`` keeps every point; ``last`` the last gradient, its point and the
            result, for attacks on large inputs of which only the result counts.

    Raises:
        ValueError: unknown names, non-positive steps or sizes.

    Example:
        >>> import torch
        >>> objective = lambda output, reference: output.sum(1)
        >>> pgd = ProjectedGradientAscent(Ball("linf", 0.5), objective, random_start=False)
        >>> pgd(torch.tanh, torch.zeros(1, 2), torch.Generator()).worst
        tensor([[0.5000, 0.5000]])

    Source: Madry et al., Towards deep learning models resistant to adversarial attacks, 2018,
    https://arxiv.org/abs/1706.06083.
    """

    ball: Ball
    objective: Objective = field(default_factory=Divergence)
    steps: int = 3
    step_size: float | None = None
    step_direction: StepDirection = "steepest"
    step_rule: StepRule = "fixed"
    random_start: bool = True
    restarts: int = 1
    select: Literal["last", "best"] = "last"
    keep_outputs: bool = False
    record: Recorded = "trajectory"

    def __post_init__(self) -> None:
        check_choice("record", self.record, RECORDED)
        if self.keep_outputs and self.record == "last":
            raise ValueError("keep_outputs=True keeps every point; use record='trajectory'")
        check_count("steps", self.steps)
        check_count("restarts", self.restarts)
        check_choice("step_direction", self.step_direction, ("steepest", "raw", "sign"))
        check_choice("step_rule", self.step_rule, tuple(STEP_RULES))
        check_choice("select", self.select, ("last", "best"))
        if self.step_size is not None:
            check_number("step_size", self.step_size, exclusive=True)
        if self.restarts > 1 and self.select == "last":
            raise ValueError(f"restarts={self.restarts} must be compared; use select='best'")
        if self.restarts > 1 and not self.random_start:
            raise ValueError(f"restarts={self.restarts} would be equal; use random_start=True")

    def run(self, policy: Policy, reference: Reference, generator: torch.Generator) -> Trajectory:
        """Ascend once per restart and keep, per sample, the restart with the highest loss."""
        result = self._ascend(policy, reference, generator)
        for _ in range(self.restarts - 1):
            result = worse(result, self._ascend(policy, reference, generator))
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
            outputs.append(in_parts(lambda rows: policy(point[rows]), len(point)))
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
        """The first x + δ; in l2 within the rim, where most of a ball of many dimensions is."""
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
        """Loss, gradient and, if it is kept, the output with its graph."""
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
        size = 2.5 * self.ball.epsilon / self.steps if self.step_size is None else self.step_size
        return STEP_RULES[self.step_rule](arc, size)

    @property
    def _steepest(self) -> bool:
        return self.step_direction == "steepest"

    def _direction(self, around: Around, gradient: Tensor) -> Tensor:
        if self.step_direction == "raw":
            return gradient
        return around.steepest(gradient) if self._steepest else around.signs(gradient)


def fgsm(ball: Ball, objective: Objective) -> ProjectedGradientAscent:
    """The fast gradient (sign) method: one steepest step of size ε from the clean input.

    δ = ε s·sign(g) on linf and ε s²g/‖sg‖₂ on l2, with g the gradient at δ = 0. A divergence has
    no gradient there; give an objective that has.

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
