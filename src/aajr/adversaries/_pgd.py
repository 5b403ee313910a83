"""Projected gradient ascent."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from aajr._checks import check_choice, check_count, check_number
from aajr._modes import Policy
from aajr.adversaries._base import Adversary
from aajr.adversaries._evaluation import checked_loss
from aajr.adversaries._objectives import Divergence
from aajr.adversaries._restarts import highest, warn_if_masked, worse
from aajr.adversaries._step_rules import STEP_RULES, Arc, Passes, StepRule
from aajr.geometry import Ball
from aajr.jacobian._directional import input_gradient
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
        random_start: start uniformly in the ball instead of at δ = 0.
        restarts: independent searches; the worst point of all is kept, per sample.
        select: ``last`` settles on the last point, ``best`` on the highest loss seen, for one
            more forward pass. More than one restart needs ``best``.
        keep_outputs: keep π at every point attached to the parameters, for the secant estimator.

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

    def __post_init__(self) -> None:
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
        x = reference.inputs
        allowed = self.ball.attackable(x)
        delta = self.ball.sample(x, generator) if self.random_start else torch.zeros_like(x)
        points, gradients, losses, outputs, extra = [x + delta], [], [], [], Passes()
        for _ in range(self.steps):
            loss, gradient, output = self._evaluate(policy, points[-1], reference)
            gradient = gradient * allowed
            delta, passes = self._step(policy, reference, delta, gradient, loss)
            extra = Passes(extra.forward + passes.forward, extra.curvature + passes.curvature)
            points.append(x + delta)
            gradients.append(gradient)
            losses.append(loss)
            outputs.append(output)
        if self.select == "best" or self.keep_outputs:
            with torch.set_grad_enabled(self.keep_outputs):
                outputs.append(policy(points[-1]))
                losses.append(self._loss(outputs[-1], reference).detach())
        stacked, scored = torch.stack(points), torch.stack(losses)
        return Trajectory(
            reference=reference,
            points=stacked,
            gradients=torch.stack(gradients),
            losses=scored,
            worst=highest(stacked, scored) if self.select == "best" else points[-1],
            event_dims=self.ball.budget_dims,
            forward_passes=1 + len(losses) + extra.forward,
            backward_passes=self.steps,
            curvature_passes=extra.curvature,
            outputs=torch.stack(outputs) if self.keep_outputs else None,
        )

    def _evaluate(
        self, policy: Policy, point: Tensor, reference: Reference
    ) -> tuple[Tensor, Tensor, Tensor]:
        with torch.enable_grad():
            point = point.detach().requires_grad_()
            output = policy(point)
            loss = self._loss(output, reference)
            gradient = input_gradient(
                loss, point, torch.ones_like(loss), retain_graph=self.keep_outputs
            )
        if not torch.isfinite(gradient).all():
            raise ValueError(
                "the objective's gradient holds NaN or infinite values; check it at x + δ"
            )
        return loss.detach(), gradient, output if self.keep_outputs else output.detach()

    def _loss(self, output: Tensor, reference: Reference) -> Tensor:
        return checked_loss(self.objective, output, reference)

    @torch.no_grad()
    def _step(
        self,
        policy: Policy,
        reference: Reference,
        delta: Tensor,
        gradient: Tensor,
        loss: Tensor,
    ) -> tuple[Tensor, Passes]:
        x = reference.inputs

        def score(candidate: Tensor, rows: Tensor) -> Tensor:
            part = reference.rows(rows)
            return self._loss(policy(part.inputs + candidate), part)

        arc = Arc(
            delta=delta,
            gradient=gradient,
            direction=self._direction(gradient),
            loss=loss,
            project=lambda candidate: self._project(candidate, x),
            score=score,
            curvature=lambda d: along_direction(
                loss_of(policy, self.objective, reference), x + delta, d
            )[2],
            size=lambda v: self.ball.size(v)[(...,) + (None,) * self.ball.budget_dims],
        )
        size = 2.5 * self.ball.epsilon / self.steps if self.step_size is None else self.step_size
        return STEP_RULES[self.step_rule](arc, size)

    def _project(self, delta: Tensor, x: Tensor) -> Tensor:
        if self.step_direction == "steepest":
            return self.ball.project_scaled(delta, x)
        return self.ball.project(delta, x)

    def _direction(self, gradient: Tensor) -> Tensor:
        if self.step_direction == "raw":
            return gradient
        norm = self.ball.norm if self.step_direction == "steepest" else "linf"
        return replace(self.ball, norm=norm).steepest(gradient)


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
