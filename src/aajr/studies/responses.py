"""The response to a lie: how much a policy's output changes when some sources lie."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from aajr._modes import Policy
from aajr.geometry import Categorical
from aajr.report.style import GREY

ESTIMATES: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda reports: reports.mean(-2),
    "median": lambda reports: reports.median(-2).values,
}
"""Coordinate-wise estimates of the position by name: functions of ``[..., n, 2]``."""


def directions(samples: int, seed: int) -> Tensor:
    """Draw a unit vector in the plane for every sample, ``[samples, 2]``.

    Example:
        >>> directions(3, seed=0).norm(dim=-1)
        tensor([1., 1., 1.])
    """
    angle = 2 * math.pi * torch.rand(samples, generator=torch.Generator().manual_seed(seed))
    return torch.stack([angle.cos(), angle.sin()], -1)


def lying(reports: Tensor, liars: int, lie: Tensor) -> Tensor:
    """Move the first ``liars`` of the reports ``[rows, n, 2]`` by ``lie``, ``[rows, 2]``."""
    moved = reports.clone()
    moved[:, :liars] += lie.unsqueeze(1)
    return moved


def shifts_of_estimates(
    reports: Tensor, liars: int, sizes: Sequence[float], along: Tensor
) -> dict[str, list[float]]:
    """Mean shift of each of :data:`ESTIMATES` along the lie, for each size of the lie.

    Args:
        reports: reports without lies, ``[rows, n, 2]``.
        liars: number of sources that lie; all tell the same lie.
        sizes: sizes of the lie.
        along: direction of the lie, ``[rows, 2]``.

    Example:
        >>> shifts_of_estimates(torch.zeros(1, 5, 2), 2, [1.0], directions(1, seed=0))
        {'mean': [0.4], 'median': [0.0]}
    """
    return {
        name: [
            round(float(((estimate(moved) - estimate(reports)) * along).sum(-1).mean()), 5)
            for size in sizes
            for moved in [lying(reports, liars, size * along)]
        ]
        for name, estimate in ESTIMATES.items()
    }


@torch.no_grad()
def belief_and_angle(
    policy: Policy,
    told: Callable[[Tensor], Tensor],
    reports: Tensor,
    lies: Sequence[Tensor],
    shifts: Tensor,
    along: Tensor,
    heads: tuple[int, ...] | None,
) -> list[tuple[Tensor, Tensor]]:
    """Measure how each lie changes a policy's output.

    Args:
        policy: maps observations to logits.
        told: maps reports ``[rows, n, 2]`` to observations ``[rows, features]``.
        reports: reports without lies, ``[rows, n, 2]``.
        lies: reports under each lie, ``[rows, n, 2]`` each.
        shifts: sizes of the common shifts of all reports that are tried, ``[tried]``.
        along: direction of these shifts, ``[rows, 2]``.
        heads: sizes of the heads of a factored distribution; None for one head.

    Returns:
        For each lie two tensors ``[rows]``. The first is the belief: the common shift of all honest
        reports whose output is closest to the output under the lie, by the divergence of the Fisher
        metric. The second is the geodesic distance between the outputs with and without the lie,
        :math:`2\\arccos\\sum\\sqrt{pq}` per head, combined over heads as a Euclidean norm.
    """
    metric = Categorical(heads)
    honest = policy(told(reports))
    nearby = [policy(told(reports + shift * along.unsqueeze(1))) for shift in shifts]
    found = []
    for lie in lies:
        output = policy(told(lie))
        far = torch.stack([metric.divergence(output, other) for other in nearby])
        found.append((shifts[far.argmin(0)], _angle(honest, output, heads)))
    return found


def draw_responses(
    axis: Any,
    sizes: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    look: Callable[[str], tuple[str, str]],
    front: str,
    epsilon: float,
) -> None:
    """Draw a panel of responses against the size of the lie, one curve per name.

    Args:
        axis: matplotlib axis of the panel.
        sizes: sizes of the lie, in rising order.
        curves: responses by name.
        look: returns colour and line style of a name.
        front: name of the curve that is drawn thick.
        epsilon: ε of training, drawn as a dotted line.
    """
    for name, values in curves.items():
        colour, line = look(name)
        axis.plot(sizes, values, line, color=colour, lw=2.2 if name == front else 1.1, label=name)
    axis.axvline(epsilon, color=GREY, lw=0.7, ls=":")
    ticks = [tick for tick in (0, 0.25, 0.5, 1, 2, 4, 8) if tick <= sizes[-1]]
    axis.set(xlabel="size of the lie", xlim=(0, sizes[-1]))
    axis.set_xscale("symlog", linthresh=0.5)
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])


def _angle(output: Tensor, other: Tensor, heads: tuple[int, ...] | None) -> Tensor:
    sizes = list(heads or output.shape[-1:])
    angles = [
        2 * (p.softmax(-1).sqrt() * q.softmax(-1).sqrt()).sum(-1).clamp(max=1.0).acos()
        for p, q in zip(*(torch.split(one, sizes, -1) for one in (output, other)), strict=True)
    ]
    return torch.linalg.vector_norm(torch.stack(angles, -1), dim=-1)
