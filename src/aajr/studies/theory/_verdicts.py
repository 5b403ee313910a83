"""Every statement of the theory held against what a random problem really did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from aajr._vectors import length, unit
from aajr.adversaries import ProjectedGradientAscent
from aajr.jacobian import directional_derivative
from aajr.studies.theory._problems import Draw, Problem
from aajr.studies.theory._segments import Segments, measure
from aajr.theory import (
    damage_bound,
    euclidean_step_limit,
    gradient_bound,
    guaranteed_ascent,
    guaranteed_gain,
    normalized_step_limit,
    sign_step_limit,
    top_singular,
)
from aajr.trajectory import Reference, Trajectory

STEPS = 3
TOLERANCE = 1e-9
"""Relative rounding that no check counts as a violation, with 1e-12 of the objective's size."""

_NEGLIGIBLE = 1e-7


@dataclass(frozen=True, eq=False)
class Verdict:
    """One statement, with one kind of constants, on the rows of a problem.

    Attributes:
        statement: its name.
        constants: ``measured`` on the segment, ``certified`` for the whole ball, or ``none``.
        actual: what happened, ``[rows]``.
        bound: what was promised, ``[rows]``.
        side: whether the bound is an upper or a lower one.
        level: size of the objective, for its rounding.
    """

    statement: str
    constants: Literal["measured", "certified", "none"]
    actual: Tensor
    bound: Tensor
    side: Literal["upper", "lower"] = "upper"
    level: Tensor | float = 0.0

    @property
    def broken(self) -> Tensor:
        """Where the statement fails by more than rounding, boolean ``[rows]``."""
        excess = self.actual - self.bound
        if self.side == "lower":
            excess = -excess
        size = torch.maximum(self.actual.abs(), self.bound.abs())
        return ~(excess <= TOLERANCE * size + 1e-12 * (1 + torch.as_tensor(self.level)))

    @property
    def tightness(self) -> Tensor:
        """How many times larger the greater of the two is, at least about 1, ``[kept rows]``.

        Rows are left out where the smaller one is not positive, or too small to divide by.
        """
        larger, smaller = self.bound, self.actual
        if self.side == "lower":
            larger, smaller = self.actual, self.bound
        floor = _NEGLIGIBLE * (larger.abs() + 1e-3 * torch.as_tensor(self.level))
        keep = smaller > floor.clamp_min(1e-12)
        return larger[keep] / smaller[keep]


def check(problem: Problem) -> list[Verdict]:
    """All statements on the trajectory and on single steps of a problem."""
    draw = Draw(problem.generator)
    trajectory, step_size = climb(problem, draw)
    x, _, reference = starts(problem, trajectory)
    segments = measure(problem, reference, x, trajectory.points[1:].flatten(0, 1))
    return [
        *_inclusion_and_gradient(problem, trajectory, segments),
        *_smoothness(segments),
        *_euclidean(segments, step_size),
        *_normalized(problem, trajectory, draw),
        *_sign(problem, trajectory, draw),
        *_damage(segments),
    ]


def climb(problem: Problem, draw: Draw) -> tuple[Trajectory, float]:
    """A raw projected gradient trajectory whose steps are short for some problems, wild for others.

    Returns:
        The trajectory of ``STEPS`` steps and η.
    """
    start = problem.x + problem.ball.sample(problem.x, problem.generator)
    probe = ProjectedGradientAscent(
        problem.ball, problem.loss.objective, steps=1, step_direction="raw"
    )
    slopes = probe(problem.policy, start, problem.generator, problem.loss.data).gradients
    typical = float(slopes.flatten(2).norm(dim=2).median())
    reach = problem.ball.epsilon * draw.log_uniform(0.1, 5.0)
    step_size = reach / typical if typical > 1e-9 else 1.0
    ascent = ProjectedGradientAscent(
        problem.ball,
        problem.loss.objective,
        steps=STEPS,
        step_size=step_size,
        step_direction="raw",
    )
    return ascent(problem.policy, problem.x, problem.generator, problem.loss.data), step_size


def _inclusion_and_gradient(
    problem: Problem, trajectory: Trajectory, segments: Segments
) -> list[Verdict]:
    x, g, reference = starts(problem, trajectory)
    output, product = directional_derivative(problem.policy, x, unit(g, (1,)), "forward_mode")
    aligned, spectral = product.detach().norm(dim=1), top_singular(problem.policy, x)[0].detach()
    radius = (output.detach() - problem.loss.centre(reference)).norm(dim=1)
    slope = torch.as_tensor(problem.loss.constants(reference, radius).lipschitz)
    slope = slope * torch.ones_like(radius)
    size = g.norm(dim=1)
    everywhere = torch.full_like(size, segments.certified_sensitivity)
    certified = gradient_bound(segments.certified_lipschitz, everywhere)
    return [
        Verdict("inclusion of the classes", "none", aligned, spectral),
        Verdict("inner gradient", "measured", size, gradient_bound(slope, aligned)),
        Verdict("inner gradient", "certified", size, certified),
    ]


def _smoothness(segments: Segments) -> list[Verdict]:
    worst = segments.second.amax(1)
    return [
        Verdict(
            "effective smoothness, point by point",
            "measured",
            segments.second.flatten(),
            segments.pointwise.flatten(),
        ),
        Verdict("effective smoothness", "certified", worst, segments.certified),
    ]


def _euclidean(segments: Segments, step_size: float) -> list[Verdict]:
    verdicts: list[Verdict] = []
    eta = torch.full_like(segments.length, step_size)
    for kind, smooth in _kinds(segments):
        bound = guaranteed_ascent(eta, segments.length, smooth)
        verdicts += _ascent("Euclidean step", kind, segments, bound)
        verdicts += _monotone("Euclidean step", kind, segments, eta, euclidean_step_limit(smooth))
    return verdicts


def _normalized(problem: Problem, trajectory: Trajectory, draw: Draw) -> list[Verdict]:
    start, g, reference = starts(problem, trajectory)
    eta = torch.full_like(g[:, 0], problem.ball.epsilon * draw.log_uniform(0.05, 3.0))
    end = projected(problem, reference.inputs, start + eta[:, None] * unit(g, (1,)))
    segments, size = measure(problem, reference, start, end), length(g, (1,)).squeeze(1)
    moved = size > 0
    verdicts: list[Verdict] = []
    for kind, smooth in _kinds(segments):
        bound = guaranteed_ascent(eta / size.clamp_min(1e-300), segments.length, smooth)
        bound = torch.where(moved, bound, 0.0)
        verdicts += _ascent("normalised step", kind, segments, bound)
        limit = normalized_step_limit(size, smooth)
        verdicts += _monotone("normalised step", kind, segments, eta, limit)
    return verdicts


def _sign(problem: Problem, trajectory: Trajectory, draw: Draw) -> list[Verdict]:
    """From the middle between x and x + δ, so that many of the steps end inside the ball."""
    start, g, reference = starts(problem, trajectory)
    start = (start + reference.inputs) / 2
    g = _gradient(problem, reference, start)
    scale = torch.ones_like(g) if problem.ball.scale is None else problem.ball.scale.expand_as(g)
    eta = torch.full_like(g[:, 0], problem.ball.epsilon * draw.log_uniform(0.02, 0.5))
    wish = start + eta[:, None] * scale * g.sign()
    inside = (projected(problem, reference.inputs, wish) - wish).abs().amax(1) < 1e-12
    if not bool(inside.any()):
        return []
    reference, eta = reference.rows(inside.nonzero().squeeze(1)), eta[inside]
    segments = measure(problem, reference, start[inside], wish[inside])
    weighted = (scale * g)[inside].abs().sum(1)
    norm = (scale * g.sign())[inside].norm(dim=1)
    name = "sign step inside the ball"
    verdicts: list[Verdict] = []
    for kind, smooth in _kinds(segments):
        bound = guaranteed_gain(weighted / norm.clamp_min(1e-300), eta * norm, smooth)
        limit = sign_step_limit(weighted, norm, smooth)
        verdicts += _ascent(name, kind, segments, bound)
        verdicts += _monotone(name, kind, segments, eta, limit)
    return verdicts


def _damage(segments: Segments) -> list[Verdict]:
    def steps(value: Tensor) -> Tensor:
        return value.reshape(STEPS, -1)

    path = steps(segments.length).sum(0)
    damage = steps(segments.gain).sum(0)
    level = steps(segments.level).amax(0)
    measured = damage_bound(
        steps(segments.lipschitz).amax(0), steps(segments.sensitivity).amax(0), path
    )
    everywhere = torch.full_like(path, segments.certified_sensitivity)
    certified = damage_bound(steps(segments.certified_lipschitz).amax(0), everywhere, path)
    return [
        Verdict("damage on the path", "measured", damage, measured, level=level),
        Verdict("damage on the path", "certified", damage, certified, level=level),
    ]


def _kinds(segments: Segments) -> tuple[tuple[Literal["measured", "certified"], Tensor], ...]:
    """L_eff by kind of constants."""
    return ("measured", segments.smoothness), ("certified", segments.certified)


def _ascent(
    name: str, kind: Literal["measured", "certified"], segments: Segments, bound: Tensor
) -> list[Verdict]:
    title = f"{name}: guaranteed ascent"
    return [Verdict(title, kind, segments.gain, bound, "lower", segments.level)]


def _monotone(
    name: str,
    kind: Literal["measured", "certified"],
    segments: Segments,
    eta: Tensor,
    limit: Tensor,
) -> list[Verdict]:
    """Steps within their limit must not lower F; the others promise nothing."""
    within = eta <= limit
    gain = segments.gain[within]
    title = f"{name}: monotone within the limit"
    level = segments.level[within]
    return [Verdict(title, kind, gain, torch.zeros_like(gain), "lower", level)]


def starts(problem: Problem, trajectory: Trajectory) -> tuple[Tensor, Tensor, Reference]:
    """Points, gradients there, and references of all steps of a trajectory."""
    rows = torch.arange(len(problem.x)).repeat(STEPS)
    reference = trajectory.reference.rows(rows)
    return trajectory.points[:-1].flatten(0, 1), trajectory.gradients.flatten(0, 1), reference


def projected(problem: Problem, x: Tensor, point: Tensor) -> Tensor:
    """x + P_Δ(point - x)."""
    return x + problem.ball.project(point - x, x)


def _gradient(problem: Problem, reference: Reference, point: Tensor) -> Tensor:
    point = point.detach().requires_grad_()
    loss = problem.loss.objective(problem.policy(point), reference).sum()
    (gradient,) = torch.autograd.grad(loss, point)
    return gradient * problem.ball.attackable(point)
