"""What happens along the adversary's steps: constants on a grid of points, gains, curvatures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from aajr._vectors import length, unit
from aajr.jacobian import directional_curvature
from aajr.studies.theory._problems import Problem
from aajr.theory import (
    Constants,
    along_direction,
    effective_smoothness,
    loss_of,
    network_constants,
)
from aajr.trajectory import Reference

GRID = 33
INFLATION = 1.01
"""A supremum over a segment is that over ``GRID`` points of it, times this."""


Kind = Literal["measured", "certified"]


@dataclass(frozen=True, eq=False)
class Bounds:
    """Constants that rule a step, each ``[rows]``.

    Attributes:
        smoothness: L_eff, of L‖J d‖² + Gκ.
        lipschitz: G.
        sensitivity: of ‖J d‖.
    """

    smoothness: Tensor
    lipschitz: Tensor
    sensitivity: Tensor


@dataclass(frozen=True, eq=False)
class Segments:
    """Steps δ → δ⁺ of a problem and the constants that rule them, each ``[rows]``.

    Attributes:
        length: r = ‖δ⁺ - δ‖.
        gain: F(δ⁺) - F(δ).
        level: largest |F| at the ends, for the rounding of gains.
        curvature: sup |dᵀ∇²F d|, the curvature itself.
        pointwise: L‖J d‖² + Gκ at every point, ``[rows, GRID]``.
        second: |dᵀ∇²F d| at every point, ``[rows, GRID]``.
        bounds: ``measured``, the suprema over the grid, and ``certified``, which hold on the whole
            ball.
    """

    length: Tensor
    gain: Tensor
    level: Tensor
    curvature: Tensor
    pointwise: Tensor
    second: Tensor
    bounds: Mapping[Kind, Bounds]


def measure(problem: Problem, reference: Reference, start: Tensor, end: Tensor) -> Segments:
    """Constants and outcome of steps from ``start`` to ``end``, both ``[rows, inputs]``.

    Args:
        problem: the network and the objective.
        reference: of the rows.
        start: x + δ.
        end: x + δ⁺.
    """
    step = end - start
    r, d = length(step, (1,)), unit(step, (1,))
    share = torch.linspace(0, 1, GRID, dtype=start.dtype)
    points = (start.unsqueeze(1) + share[:, None] * step.unsqueeze(1)).flatten(0, 1)
    index = torch.arange(len(start)).repeat_interleave(GRID)
    whole, direction = reference.rows(index), d[index]
    output, product, bend = directional_curvature(problem.policy, points, direction)
    objective = loss_of(problem.policy, problem.loss.objective, whole)
    values, _, second = along_direction(objective, points, direction)
    radius = (output - problem.loss.centre(whole)).detach().norm(dim=1)
    found = problem.loss.constants(whole, radius)
    sensitivity, curvature = product.detach().norm(dim=1), bend.detach().norm(dim=1)
    smooth, lipschitz = _columns(found, radius)
    pointwise = effective_smoothness(sensitivity, smooth, lipschitz, curvature)

    def rows(value: Tensor) -> Tensor:
        return value.reshape(-1, GRID)

    def largest(value: Tensor) -> Tensor:
        return INFLATION * rows(value).amax(1)

    F = rows(values)
    measured = Bounds(largest(pointwise), largest(lipschitz), largest(sensitivity))
    return Segments(
        length=r.squeeze(1),
        gain=F[:, -1] - F[:, 0],
        level=F.abs().amax(1),
        curvature=largest(second.abs()),
        pointwise=rows(pointwise),
        second=rows(second.abs()),
        bounds={"measured": measured, "certified": _certified(problem, reference, start, end)},
    )


def _certified(problem: Problem, reference: Reference, start: Tensor, end: Tensor) -> Bounds:
    """From global constants of the network; a segment lies between its ends."""
    network = network_constants(problem.policy)
    steepest, bend = float(network.lipschitz), float(network.smoothness)
    reach = torch.maximum(
        (start - reference.inputs).norm(dim=1), (end - reference.inputs).norm(dim=1)
    )
    away = (reference.outputs - problem.loss.centre(reference)).norm(dim=1)
    found = problem.loss.constants(reference, away + steepest * reach)
    smooth, lipschitz = _columns(found, reach)
    sensitivity, curvature = torch.full_like(reach, steepest), torch.full_like(reach, bend)
    total = effective_smoothness(sensitivity, smooth, lipschitz, curvature)
    return Bounds(total, lipschitz, sensitivity)


def _columns(constants: Constants, like: Tensor) -> tuple[Tensor, Tensor]:
    """L and G for every row."""
    pair = (constants.smoothness, constants.lipschitz)
    smoothness, lipschitz = (torch.as_tensor(value) * torch.ones_like(like) for value in pair)
    return smoothness, lipschitz
