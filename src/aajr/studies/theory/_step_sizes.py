"""How often do steps of a tenth to ten times the stable limit lower the objective?"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from aajr._vectors import length, unit
from aajr.adversaries import STEP_RULES, Arc, StepRule
from aajr.studies.theory._problems import Draw, Problem
from aajr.studies.theory._segments import measure
from aajr.studies.theory._verdicts import climb, projected, starts
from aajr.theory import along_direction, loss_of
from aajr.trajectory import Reference

SIZES = 12
EDGES = tuple(10 ** (-1 + index / 8) for index in range(17))
"""Edges of the bins of η over its limit, eight bins per decade, from 0.1 to 10."""

ROOM = 10.0
"""Factor on the radius of the ball, so that it clips fewer steps."""

SAFE_RULES: tuple[StepRule, ...] = ("stable", "backtracking")


@dataclass(frozen=True, eq=False)
class Steps:
    """Single steps of the same relative size from the points of a trajectory, each ``[rows]``.

    Attributes:
        to_bound: η over 2/L_eff, with L_eff = sup L‖J d‖² + Gκ on the actual step.
        to_curvature: η over 2/sup |dᵀ∇²F d|, on the actual step.
        falls: for each rule, whether the step lowered F by more than rounding.
    """

    to_bound: Tensor
    to_curvature: Tensor
    falls: dict[str, Tensor]


def step_sizes(problem: Problem) -> list[Steps]:
    """Make raw projected gradient steps of ``SIZES`` sizes, and steps of the safe rules from η.

    The sizes η are spread around the limit at the start of the step. The ratio of η to its limit is
    then measured on the actual step, so that the theorem applies to every step.
    """
    problem = replace(problem, ball=problem.ball.with_epsilon(ROOM * problem.ball.epsilon))
    trajectory, _ = climb(problem, Draw(problem.generator))
    x, g, reference = starts(problem, trajectory)
    near = projected(problem, reference.inputs, x + 1e-3 * problem.ball.epsilon * unit(g, (1,)))
    local = measure(problem, reference, x, near).curvature.clamp_min(1e-9)
    sizes = torch.logspace(-1.3, 1.3, SIZES, dtype=x.dtype)
    return [_steps(problem, reference, x, g, share * 2 / local) for share in sizes]


def _steps(problem: Problem, reference: Reference, x: Tensor, g: Tensor, eta: Tensor) -> Steps:
    end = projected(problem, reference.inputs, x + eta[:, None] * g)
    made = measure(problem, reference, x, end)
    moved = made.length > 1e-9 * problem.ball.epsilon
    rounding = 1e-12 * (1 + made.level)
    falls = {"fixed": made.gain < -rounding}
    loss = loss_of(problem.policy, problem.loss.objective, reference)
    with torch.no_grad():
        first = loss(x)
        for rule in SAFE_RULES:
            point, _ = STEP_RULES[rule](_arc(problem, reference, x, g, eta, first), 1.0)
            falls[rule] = loss(point) - first < -rounding
    return Steps(
        (eta * made.bounds["measured"].smoothness / 2)[moved],
        (eta * made.curvature / 2)[moved],
        {name: value[moved] for name, value in falls.items()},
    )


def _arc(
    problem: Problem, reference: Reference, x: Tensor, g: Tensor, eta: Tensor, first: Tensor
) -> Arc:
    """The projection arc, scaled such that size 1 is the step size η."""

    def score(candidate: Tensor, rows: Tensor) -> Tensor:
        part = reference.rows(rows)
        return problem.loss.objective(problem.policy(candidate), part)

    loss = loss_of(problem.policy, problem.loss.objective, reference)
    return Arc(
        point=x,
        gradient=g,
        direction=eta[:, None] * g,
        loss=first,
        moved=lambda point, d, size: projected(problem, reference.inputs, point + size * d),
        score=score,
        curvature=lambda d: along_direction(loss, x, d)[2],
        size=lambda v: length(v, (1,)),
    )
