"""What happens along the adversary's steps: constants on a grid of points, gains, curvatures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aajr._vectors import length, unit
from aajr.jacobian import directional_curvature
from aajr.studies.theory._problems import Problem
from aajr.theory import (
    along_direction,
    effective_smoothness,
    loss_of,
    network_constants,
)
from aajr.trajectory import Reference

GRID = 33
INFLATION = 1.01
"""A supremum over a segment is that over ``GRID`` points of it, times this."""


@dataclass(frozen=True, eq=False)
class Segments:
    """Steps δ → δ⁺ of a problem and the constants that rule them, each ``[rows]``.

    Attributes:
        length: r = ‖δ⁺ - δ‖.
        slope: ⟨g, d⟩ at δ.
        gain: F(δ⁺) - F(δ).
        level: largest |F| at the ends, for the rounding of gains.
        sensitivity: sup ‖J d‖.
        lipschitz: sup G.
        smoothness: sup of L‖J d‖² + Gκ, the bound on the curvature.
        curvature: sup |dᵀ∇²F d|, the curvature itself.
        pointwise: L‖J d‖² + Gκ at every point, ``[rows, GRID]``.
        second: |dᵀ∇²F d| at every point, ``[rows, GRID]``.
        certified: L_eff from constants that hold on the whole ball.
        certified_lipschitz: G likewise.
        certified_sensitivity: ‖J‖₂ everywhere.
    """

    length: Tensor
    slope: Tensor
    gain: Tensor
    level: Tensor
    sensitivity: Tensor
    lipschitz: Tensor
    smoothness: Tensor
    curvature: Tensor
    pointwise: Tensor
    second: Tensor
    certified: Tensor
    certified_lipschitz: Tensor
    certified_sensitivity: float


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
    values, slope, second = along_direction(objective, points, direction)
    radius = (output - problem.loss.centre(whole)).detach().norm(dim=1)
    found = problem.loss.constants(whole, radius)
    sensitivity, curvature = product.detach().norm(dim=1), bend.detach().norm(dim=1)
    smooth = torch.as_tensor(found.smoothness) * torch.ones_like(radius)
    lipschitz = torch.as_tensor(found.lipschitz) * torch.ones_like(radius)
    pointwise = effective_smoothness(sensitivity, smooth, lipschitz, curvature)

    def rows(value: Tensor) -> Tensor:
        return value.reshape(-1, GRID)

    F = rows(values)
    certified, certified_lipschitz, everywhere = _certified(problem, reference, start, end)
    return Segments(
        length=r.squeeze(1),
        slope=rows(slope)[:, 0],
        gain=F[:, -1] - F[:, 0],
        level=F.abs().amax(1),
        sensitivity=INFLATION * rows(sensitivity).amax(1),
        lipschitz=INFLATION * rows(lipschitz).amax(1),
        smoothness=INFLATION * rows(pointwise).amax(1),
        curvature=INFLATION * rows(second.abs()).amax(1),
        pointwise=rows(pointwise),
        second=rows(second.abs()),
        certified=certified,
        certified_lipschitz=certified_lipschitz,
        certified_sensitivity=everywhere,
    )


def _certified(
    problem: Problem, reference: Reference, start: Tensor, end: Tensor
) -> tuple[Tensor, Tensor, float]:
    """L_eff and G from global constants of the network; a segment lies between its ends."""
    network = network_constants(problem.policy)
    steepest, bend = float(network.lipschitz), float(network.smoothness)
    reach = torch.maximum(
        (start - reference.inputs).norm(dim=1), (end - reference.inputs).norm(dim=1)
    )
    away = (reference.outputs - problem.loss.centre(reference)).norm(dim=1)
    found = problem.loss.constants(reference, away + steepest * reach)
    smooth = torch.as_tensor(found.smoothness) * torch.ones_like(reach)
    lipschitz = torch.as_tensor(found.lipschitz) * torch.ones_like(reach)
    ones = torch.ones_like(reach)
    total = effective_smoothness(steepest * ones, smooth, lipschitz, bend * ones)
    return total, lipschitz, steepest
