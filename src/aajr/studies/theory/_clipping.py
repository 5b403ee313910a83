"""Where the limit of the sign step fails: the ball clips the coordinates that increase F."""

from __future__ import annotations

import math

import torch

from aajr.adversaries import ProjectedGradientAscent
from aajr.geometry import Ball
from aajr.studies.theory._problems import Draw, Problem
from aajr.studies.theory._segments import measure
from aajr.studies.theory._verdicts import climb, sign_step, starts
from aajr.theory import guaranteed_gain, loss_of, sign_step_limit


def clipped_example() -> dict[str, float]:
    """An example in which a sign step of 0.99 times the limit lowers a concave quadratic.

    F(δ) = -½‖δ - (1, 0.01)‖², so that g = (1, 0.01) and L_eff = 1 at δ = 0. The box does not let
    the first coordinate grow.

    Returns:
        ``limit``, ``step_size``, ``promised`` (the guaranteed gain of the unclipped step), ``gain``
        (the gain of the clipped step) and ``guaranteed`` (the bound for the clipped step).

    Example:
        >>> found = clipped_example()
        >>> found["promised"] > 0 > found["gain"]
        True
    """
    g = torch.tensor([[1.0, 0.01]], dtype=torch.float64)
    limit = sign_step_limit(float(g.abs().sum()), math.sqrt(2), 1.0)
    eta = 0.99 * limit
    attack = ProjectedGradientAscent(
        Ball("linf", 2.0, high=torch.tensor([0.0, math.inf])),
        lambda output, reference: -0.5 * (output - g).square().sum(1),
        steps=1,
        step_size=eta,
        step_direction="sign",
        random_start=False,
    )
    trajectory = attack(torch.clone, torch.zeros_like(g), torch.Generator())
    loss = loss_of(torch.clone, attack.objective, trajectory.reference)
    start, end = trajectory.points
    r = float((end - start).norm())
    return {
        "limit": limit,
        "step_size": eta,
        "promised": guaranteed_gain(float(g.abs().sum()) / math.sqrt(2), math.sqrt(2) * eta, 1.0),
        "gain": float(loss(end) - loss(start)),
        "guaranteed": guaranteed_gain(float((g * (end - start)).sum()) / r, r, 1.0),
    }


def clipped_steps(problem: Problem) -> tuple[int, int]:
    """Count the sign steps along a trajectory that are within the limit but clipped by the ball.

    Returns:
        Their number, and how many of them lower F by more than rounding. The latter are not
        violations, because the statement excludes clipped steps.
    """
    draw = Draw(problem.generator)
    trajectory, _ = climb(problem, draw)
    x, g, reference = starts(problem, trajectory)
    eta, unclipped, end, weighted, norm = sign_step(problem, reference, x, g, draw)
    made = measure(problem, reference, x, end)
    limit = sign_step_limit(weighted, norm, made.bounds["measured"].smoothness)
    clipped = (end - unclipped).abs().amax(1) > 1e-9 * problem.ball.epsilon
    chosen = clipped & (made.length > 1e-9 * problem.ball.epsilon) & (eta <= limit)
    falls = made.gain < -1e-12 * (1 + made.level)
    return int(chosen.sum()), int((chosen & falls).sum())
