"""The record of a search by steps: points, gradients, losses and the result."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from aajr._shared import Recorded
from aajr.adversaries._evaluation import over_rows
from aajr.trajectory import Reference, Trajectory


class Record:
    """Keeps every point and gradient of a search, or the last gradient, its point and the result.

    Args:
        x: clean inputs, ``[batch, *event]``.
        steps: number K of steps.
        kept: ``trajectory`` keeps all K + 1 points; ``last`` keeps x + δ_{K-1} and the result,
            which saves memory and time on large inputs.
        best: whether the result is the point of highest loss, or else the last one.
    """

    def __init__(self, x: Tensor, steps: int, kept: Recorded, best: bool) -> None:
        self.x, self.whole, self.best = x, kept == "trajectory", best
        rows = steps if self.whole else 0
        self._points, self._gradients = x.new_empty(rows + 1, *x.shape), x.new_empty(rows, *x.shape)
        self.visited, self.losses = 0, list[Tensor]()
        self.highest_loss = self.highest = self.point = self.gradient = x

    def place(self, point: Tensor) -> Tensor:
        """The next point, in the storage of the record if all points are kept."""
        if self.whole:
            self._points[self.visited] = point
            return self._points[self.visited]
        return point

    def visit(self, point: Tensor, loss: Tensor, gradient: Tensor) -> Tensor:
        """Take in loss and gradient at a point; return the gradient, stored like the point."""
        if self.whole:
            self._gradients[self.visited] = gradient
            gradient = self._gradients[self.visited]
        else:
            self.losses.clear()
            if self.best:
                self._compare(point, loss)
        self.point, self.gradient = point, gradient
        self.losses.append(loss)
        self.visited += 1
        return gradient

    def result(self, point: Tensor, loss: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Points, gradients, losses and worst point; ``loss`` is None if ``point`` has no loss."""
        if self.whole:
            losses = torch.stack([*self.losses, *([] if loss is None else [loss])])
            worst = highest(self._points, losses) if self.best else point
            return self._points, self._gradients, losses, worst
        if self.best and loss is not None:
            self._compare(point, loss)
            point, loss = self.highest, self.highest_loss
        scored = torch.stack([self.losses[-1], *([] if loss is None else [loss])])
        ends = torch.stack([self.point, point])
        return ends, self.gradient.unsqueeze(0), scored, ends[1]

    def _compare(self, point: Tensor, loss: Tensor) -> None:
        if self.visited == 0:
            self.highest, self.highest_loss = point, loss
        self.highest, self.highest_loss = better(self.highest, self.highest_loss, point, loss)


def highest(points: Tensor, losses: Tensor) -> Tensor:
    """The point of highest loss of every sample: ``[K, batch, *event]`` to ``[batch, *event]``."""
    return points[losses.argmax(0), torch.arange(points.shape[1], device=points.device)]


def better(point: Tensor, loss: Tensor, other: Tensor, other_loss: Tensor) -> tuple[Tensor, Tensor]:
    """Per sample, the other point or choice ``[batch, ...]`` where its loss is higher."""
    wins = other_loss > loss
    return torch.where(over_rows(wins, point), other, point), torch.where(wins, other_loss, loss)


def two_points(
    reference: Reference,
    first: Tensor,
    worst: Tensor,
    losses: tuple[Tensor, Tensor],
    event_dims: int,
    forward_passes: float,
) -> Trajectory:
    """The trajectory of a search without gradients: its first point and its result."""
    return Trajectory(
        reference=reference,
        points=torch.stack([first, worst]),
        gradients=torch.zeros_like(worst).unsqueeze(0),
        losses=torch.stack(losses),
        worst=worst,
        event_dims=event_dims,
        forward_passes=forward_passes,
    )


def with_last(found: Trajectory, worst: Tensor, loss: Tensor) -> Trajectory:
    """The trajectory with one more point, its result, whose gradient is set to zero.

    If the point before has no loss, it gets the loss of the new one.
    """
    missing = 1 + len(found.points) - len(found.losses)
    return replace(
        found,
        points=torch.cat([found.points, worst.unsqueeze(0)]),
        gradients=torch.cat([found.gradients, torch.zeros_like(found.gradients[:1])]),
        losses=torch.cat([found.losses, loss.expand(missing, -1)]),
        worst=worst,
    )
