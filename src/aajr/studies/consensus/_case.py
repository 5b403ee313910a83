"""The task: choose the refuge with the greatest head start, given reports of the seeker's position.

The agent's own position p and three refuges c_a are trusted. The seeker's position z is known only
from n reports z + σξ. The right action maximises the head start ‖c_a - z‖ - ‖c_a - p‖. Samples in
which the two best refuges have nearly the same head start are left out. The half width of the arena
and the least difference were tuned on plain policies only: these reach about 99 % accuracy without
lies, and about 70 % under the worst two liars of five at ε = 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aajr._checks import check_count

REFUGES = 3
TRUSTED = 2 + 2 * REFUGES
HALF_WIDTH = 2.0
NOISE = 0.15
LEAST_DIFFERENCE = 0.3
_SPARE = 4


@dataclass(frozen=True)
class Case:
    """How many sources report the position, and how many of them may lie.

    Attributes:
        reports: n, the number of sources.
        liars: k, the number of liars in training and in evaluation.
    """

    reports: int = 5
    liars: int = 2

    def __post_init__(self) -> None:
        check_count("reports", self.reports)
        check_count("liars", self.liars)
        if self.liars > self.reports:
            raise ValueError(f"liars={self.liars} exceeds reports={self.reports}; give at most n")

    @property
    def inputs(self) -> int:
        """Number of features of an observation."""
        return TRUSTED + 2 * self.reports

    @property
    def sources(self) -> Tensor:
        """Index of the source of each feature, -1 for trusted features, ``[inputs]``."""
        numbers = torch.arange(self.reports).repeat_interleave(2)
        return torch.cat([torch.full((TRUSTED,), -1), numbers])


@dataclass(frozen=True)
class Samples:
    """Observations ``[..., inputs]`` and the right action of each, ``[...]``."""

    x: Tensor
    label: Tensor


def draw(case: Case, count: int, streams: int, generator: torch.Generator) -> Samples:
    """Draw ``count`` samples for each of several streams, ``[count, streams, ...]``."""
    shape = (_SPARE * count, streams)
    points = HALF_WIDTH * (2 * torch.rand(*shape, 2 + REFUGES, 2, generator=generator) - 1)
    start = head_starts(points[..., 0, :], points[..., 1:, :])
    best = start.topk(2).values
    unclear = (best[..., 0] - best[..., 1] < LEAST_DIFFERENCE).to(torch.int8)
    order = unclear.argsort(dim=0, stable=True)[:count]
    points = points.gather(0, order[..., None, None].expand(-1, -1, *points.shape[2:]))
    label = start.gather(0, order[..., None].expand(-1, -1, REFUGES)).argmax(-1)
    noise = torch.randn(count, streams, case.reports, 2, generator=generator)
    reports = points[..., :1, :] + NOISE * noise
    return Samples(torch.cat([points[..., 1:, :].flatten(2), reports.flatten(2)], -1), label)


def head_starts(position: Tensor, trusted: Tensor) -> Tensor:
    """Compute the head start ‖c_a - z‖ - ‖c_a - p‖ of every refuge, ``[..., refuges]``.

    Args:
        position: position z of the seeker, ``[..., 2]``.
        trusted: own position p, then the refuges, ``[..., 1 + refuges, 2]``.
    """
    own, refuges = trusted[..., :1, :], trusted[..., 1:, :]
    far = torch.linalg.vector_norm(refuges - position.unsqueeze(-2), dim=-1)
    return far - torch.linalg.vector_norm(refuges - own, dim=-1)


def reports_of(x: Tensor) -> Tensor:
    """Extract the reports ``[..., n, 2]`` from observations ``[..., inputs]``."""
    return x[..., TRUSTED:].reshape(*x.shape[:-1], -1, 2)


def with_reports(x: Tensor, reports: Tensor) -> Tensor:
    """Replace the reports of observations by ``reports``, ``[..., n, 2]``."""
    return torch.cat([x[..., :TRUSTED].expand(*reports.shape[:-2], -1), reports.flatten(-2)], -1)
