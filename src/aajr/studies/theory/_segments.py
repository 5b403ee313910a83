"""Measurements along the adversary's steps: constants on a grid of points, gains, curvatures."""

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
"""A supremum over a segment is estimated as the maximum over ``GRID`` points times this factor."""


Kind = Literal["measured", "certified"]


@dataclass(frozen=True, eq=False)
class Bounds:
    """Bounds of the constants of a step, each ``[rows]``.

    Attributes:
        smoothness: L_eff, the bound of L‖J d‖² + Gκ.
        lipschitz: bound of G.
        sensitivity: bound of ‖J d‖.
    """

    smoothness: Tensor
    lipschitz: Tensor
    sensitivity: Tensor


@dataclass(frozen=True, eq=False)
class Segments:
    """Steps δ → δ⁺ of a problem and their constants, each ``[rows]``.

    Attributes:
        length: r = ‖δ⁺ - δ‖.
        gain: F(δ⁺) - F(δ).
        level: largest |F| on the grid, from which the rounding error of gains is estimated.
        curvature: sup |dᵀ∇²F d|, the measured curvature.
        pointwise: L‖J d‖² + Gκ at every point, ``[rows, GRID]``.
        second: |dᵀ∇²F d| at every point, ``[rows, GRID]``.
        bounds: ``measured``, the suprema over the grid, and ``certified``, which hold on the whole
            segment by the network's global constants.
    """

    length: Tensor
    gain: Tensor
    level: Tensor
    curvature: Tensor
    pointwise: Tensor
    second: Tensor
    bounds: Mapping[Kind, Bounds]


def measure(problem: Problem, reference: Reference, start: Tensor, end: Tensor) -> Segments:
    """Measure constants and gains of the steps from ``start`` to ``end``.

    Args:
        problem: the network and the objective.
        reference: reference of the rows.
        start: x + δ, ``[rows, inputs]``.
        end: x + δ⁺, ``[rows, inputs]``.
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
    """Bounds from the network's global constants; the farther end of a segment gives the radius."""
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
