"""The response to a lie: how far a policy moves when some of its sources report another place."""

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
"""Coordinate-wise estimates of the position, ``[..., n, 2]`` to ``[..., 2]``."""


def directions(samples: int, seed: int) -> Tensor:
    """A direction in the plane for every sample, ``[samples, 2]``.

    Example:
        >>> directions(3, seed=0).norm(dim=-1)
        tensor([1., 1., 1.])
    """
    angle = 2 * math.pi * torch.rand(samples, generator=torch.Generator().manual_seed(seed))
    return torch.stack([angle.cos(), angle.sin()], -1)


def lying(reports: Tensor, liars: int, lie: Tensor) -> Tensor:
    """Reports ``[rows, n, 2]`` of which the first ``liars`` are moved by ``lie``, ``[rows, 2]``."""
    moved = reports.clone()
    moved[:, :liars] += lie.unsqueeze(1)
    return moved


def shifts_of_estimates(
    reports: Tensor, liars: int, sizes: Sequence[float], along: Tensor
) -> dict[str, list[float]]:
    """Mean shift along the lie of every one of :data:`ESTIMATES`, by size of the lie.

    Args:
        reports: without lies, ``[rows, n, 2]``.
        liars: sources that lie alike.
        sizes: of the lie.
        along: its direction, ``[rows, 2]``.

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
    """What a policy makes of every lie.

    Args:
        policy: from observations to logits.
        told: the observations with other reports, ``[rows, n, 2]`` to ``[rows, features]``.
        reports: without lies.
        lies: the reports with every lie.
        shifts: sizes of a common shift of all reports that are tried, ``[tried]``.
        along: its direction, ``[rows, 2]``.
        heads: sizes of the factored distributions; None for one.

    Returns:
        For every lie the common shift of all reports whose output is nearest in the Fisher metric,
        and the geodesic distance of the distributions, :math:`2\\arccos\\sum\\sqrt{pq}` in each
        head; both ``[rows]``.
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
    """A panel of responses, one curve each, against the size of the lie.

    Args:
        axis: of the panel.
        sizes: of the lie, in rising order.
        curves: response by name.
        look: colour and line of a name.
        front: the curve that is drawn thick.
        epsilon: of training, a dotted line.
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
