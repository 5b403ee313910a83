"""Check every statement of the theory on a random problem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from aajr._vectors import length, unit
from aajr.adversaries import ProjectedGradientAscent
from aajr.jacobian import directional_derivative
from aajr.studies.theory._problems import Draw, Problem
from aajr.studies.theory._segments import Kind, Segments, measure
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
"""Relative excess that counts as rounding and not as a violation; a further 1e-12 of the
objective's size is allowed too."""

_NEGLIGIBLE = 1e-7


@dataclass(frozen=True, eq=False)
class Verdict:
    """One statement, with one kind of constants, on the rows of a problem.

    Attributes:
        statement: name of the statement.
        constants: ``measured`` on the segment, ``certified`` from the network's global constants,
            or ``none``.
        actual: the measured value, ``[rows]``.
        bound: the bound that the statement gives, ``[rows]``.
        side: whether the bound is an upper or a lower bound.
        level: size of the objective, from which its rounding error is estimated.
    """

    statement: str
    constants: Kind | Literal["none"]
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
        """Ratio of bound and actual value, the larger over the smaller, ``[kept rows]``.

        It is at least about 1 if the statement holds. Rows are left out if the smaller value is not
        positive or too small to divide by.
        """
        larger, smaller = self.bound, self.actual
        if self.side == "lower":
            larger, smaller = self.actual, self.bound
        floor = _NEGLIGIBLE * (larger.abs() + 1e-3 * torch.as_tensor(self.level))
        keep = smaller > floor.clamp_min(1e-12)
        return larger[keep] / smaller[keep]


def check(problem: Problem) -> list[Verdict]:
    """Check all statements on a trajectory and on single steps of a problem."""
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
    """Run raw projected gradient ascent with a random step size, short or much too long.

    Returns:
        The trajectory of ``STEPS`` steps, and the step size η.
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
    size, certified = g.norm(dim=1), segments.bounds["certified"]
    bounds: dict[Kind, Tensor] = {
        "measured": gradient_bound(slope * torch.ones_like(radius), aligned),
        "certified": gradient_bound(certified.lipschitz, certified.sensitivity),
    }
    return [
        Verdict("inclusion of the classes", "none", aligned, spectral),
        *(Verdict("inner gradient", kind, size, bound) for kind, bound in bounds.items()),
    ]


def _smoothness(segments: Segments) -> list[Verdict]:
    name, certified = "effective smoothness", segments.bounds["certified"].smoothness
    points = segments.second.flatten(), segments.pointwise.flatten()
    return [
        Verdict(f"{name}, point by point", "measured", *points),
        Verdict(name, "certified", segments.second.amax(1), certified),
    ]


def _euclidean(segments: Segments, step_size: float) -> list[Verdict]:
    eta = torch.full_like(segments.length, step_size)

    def gain(smoothness: Tensor) -> Tensor:
        return guaranteed_ascent(eta, segments.length, smoothness)

    return _steps("Euclidean step", segments, eta, gain, euclidean_step_limit)


def _normalized(problem: Problem, trajectory: Trajectory, draw: Draw) -> list[Verdict]:
    start, g, reference = starts(problem, trajectory)
    eta = torch.full_like(g[:, 0], problem.ball.epsilon * draw.log_uniform(0.05, 3.0))
    end = projected(problem, reference.inputs, start + eta[:, None] * unit(g, (1,)))
    segments, size = measure(problem, reference, start, end), length(g, (1,)).squeeze(1)

    def gain(smoothness: Tensor) -> Tensor:
        bound = guaranteed_ascent(eta / size.clamp_min(1e-300), segments.length, smoothness)
        return torch.where(size > 0, bound, 0.0)

    return _steps("normalised step", segments, eta, gain, partial(normalized_step_limit, size))


def _sign(problem: Problem, trajectory: Trajectory, draw: Draw) -> list[Verdict]:
    """Check sign steps from the midpoints of x and x + δ, because many of them end in the ball."""
    start, _, reference = starts(problem, trajectory)
    start = (start + reference.inputs) / 2
    g = _gradient(problem, reference, start)
    eta, unclipped, end, weighted, norm = sign_step(problem, reference, start, g, draw)
    inside = (end - unclipped).abs().amax(1) < 1e-12
    if not bool(inside.any()):
        return []
    reference = reference.rows(inside.nonzero().squeeze(1))
    start, unclipped, eta, weighted, norm = (
        x[inside] for x in (start, unclipped, eta, weighted, norm)
    )
    segments = measure(problem, reference, start, unclipped)

    def gain(smoothness: Tensor) -> Tensor:
        return guaranteed_gain(weighted / norm.clamp_min(1e-300), eta * norm, smoothness)

    limit = partial(sign_step_limit, weighted, norm)
    return _steps("sign step inside the ball", segments, eta, gain, limit)


def _damage(segments: Segments) -> list[Verdict]:
    def steps(value: Tensor) -> Tensor:
        return value.reshape(STEPS, -1)

    path, damage = steps(segments.length).sum(0), steps(segments.gain).sum(0)
    level = steps(segments.level).amax(0)
    bounds = {
        kind: damage_bound(steps(found.lipschitz).amax(0), steps(found.sensitivity).amax(0), path)
        for kind, found in segments.bounds.items()
    }
    return [
        Verdict("damage on the path", kind, damage, bound, level=level)
        for kind, bound in bounds.items()
    ]


def _steps(
    name: str,
    segments: Segments,
    eta: Tensor,
    gain: Callable[[Tensor], Tensor],
    limit: Callable[[Tensor], Tensor],
) -> list[Verdict]:
    """Check the guaranteed ascent of all steps, and that steps within the limit do not lower F."""
    ascent, monotone = f"{name}: guaranteed ascent", f"{name}: monotone within the limit"
    verdicts = []
    for kind, bounds in segments.bounds.items():
        promised, within = gain(bounds.smoothness), eta <= limit(bounds.smoothness)
        made, level = segments.gain[within], segments.level[within]
        verdicts += [
            Verdict(ascent, kind, segments.gain, promised, "lower", segments.level),
            Verdict(monotone, kind, made, torch.zeros_like(made), "lower", level),
        ]
    return verdicts


def sign_step(
    problem: Problem, reference: Reference, start: Tensor, g: Tensor, draw: Draw
) -> tuple[Tensor, ...]:
    """Make sign steps of a random size from the points ``start`` along the gradients ``g``.

    Returns:
        For each row: η, the end without clipping, the end clipped by the ball, ‖s·g‖₁ and
        ‖s·sign(g)‖₂.
    """
    scale = torch.ones_like(g) if problem.ball.scale is None else problem.ball.scale.expand_as(g)
    eta = torch.full_like(g[:, 0], problem.ball.epsilon * draw.log_uniform(0.02, 0.5))
    unclipped = start + eta[:, None] * scale * g.sign()
    end = projected(problem, reference.inputs, unclipped)
    return eta, unclipped, end, (scale * g).abs().sum(1), (scale * g.sign()).norm(dim=1)


def starts(problem: Problem, trajectory: Trajectory) -> tuple[Tensor, Tensor, Reference]:
    """Start points, gradients and references of all steps of a trajectory."""
    rows = torch.arange(len(problem.x)).repeat(STEPS)
    reference = trajectory.reference.rows(rows)
    return trajectory.points[:-1].flatten(0, 1), trajectory.gradients.flatten(0, 1), reference


def projected(problem: Problem, x: Tensor, point: Tensor) -> Tensor:
    """Project ``point`` onto the ball around x: x + P_Δ(point - x)."""
    return x + problem.ball.project(point - x, x)


def _gradient(problem: Problem, reference: Reference, point: Tensor) -> Tensor:
    point = point.detach().requires_grad_()
    loss = problem.loss.objective(problem.policy(point), reference).sum()
    (gradient,) = torch.autograd.grad(loss, point)
    return gradient * problem.ball.attackable(point)
