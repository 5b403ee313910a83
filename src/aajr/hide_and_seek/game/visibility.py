"""Lines of sight among axis-aligned rectangles."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def entry_fraction(start: Tensor, end: Tensor, centre: Tensor, half: Tensor) -> Tensor:
    """Where segments first hit rectangles, as a fraction of the segment; inf if they miss.

    Args:
        start: start points, ``[..., 2]``.
        end: end points, ``[..., 2]``.
        centre: centres of the rectangles, broadcastable to ``[..., 2]``.
        half: half sizes of the rectangles, broadcastable to ``[..., 2]``.

    Returns:
        ``[...]``; 0 where the segment starts inside.

    Source: the slab method, Kay and Kajiya, Ray tracing complex scenes, 1986.
    """
    given = torch.broadcast_tensors(start, end, centre, half)  # type: ignore[no-untyped-call]
    start, end, centre, half = (item.movedim(-1, 0) for item in given)
    near, meets = _crossing(start, end - start, centre, half)
    return torch.where(meets, near, math.inf)


def _crossing(start: Tensor, step: Tensor, centre: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """Fraction at which segments enter rectangles, and whether they hit them at all.

    The coordinates are the first dimension of all arguments.
    """
    # avoids a division by zero where the segment is parallel to an axis
    inverse = 1 / step.masked_fill(step.abs() < 1e-12, 1e-12)
    offset, extent = (centre - start) * inverse, half * inverse.abs()
    near = torch.maximum(*(offset - extent)).clamp_min(0.0)
    return near, (near <= torch.minimum(*(offset + extent))) & (near <= 1.0)


def line_of_sight(
    watchers: Tensor, targets: Tensor, centre: Tensor, half: Tensor, radius: float
) -> Tensor:
    """Whether each watcher sees each target: it is within the radius and no rectangle is between.

    Args:
        watchers: positions, ``[envs, W, 2]``.
        targets: positions, ``[envs, T, 2]``.
        centre: centres of the rectangles, ``[envs, R, 2]``.
        half: half sizes of the rectangles, ``[envs, R, 2]``.
        radius: view radius.

    Returns:
        ``[envs, W, T]``, boolean.
    """
    # environments as the last, long axis make broadcasting fast
    start, end, middle, size = (item.permute(2, 1, 0) for item in (watchers, targets, centre, half))
    gap = end.unsqueeze(1) - start.unsqueeze(2)
    near = gap.square().sum(0) <= radius**2
    given = start[:, :, None, None], gap.unsqueeze(3), middle[:, None, None], size[:, None, None]
    _, meets = _crossing(*given)
    return (near & ~meets.any(2)).permute(2, 0, 1)


def in_cone(watchers: Tensor, headings: Tensor, targets: Tensor, angle: float) -> Tensor:
    """Whether targets lie within the full ``angle`` around the headings, ``[envs, W, T]``."""
    gap = targets.unsqueeze(1) - watchers.unsqueeze(2)
    along = (gap * headings.unsqueeze(2)).sum(-1)
    return along >= gap.norm(dim=-1) * math.cos(angle / 2) - 1e-9


def lidar(origin: Tensor, rays: int, radius: float, centre: Tensor, half: Tensor) -> Tensor:
    """Distance to the nearest rectangle along equally spaced rays, in units of ``radius``.

    Args:
        origin: positions of the agents, ``[envs, agents, 2]``.
        rays: number of rays; the first points along +x.
        radius: greatest distance that is measured.
        centre: centres of the rectangles, ``[envs, R, 2]``.
        half: half sizes of the rectangles, ``[envs, R, 2]``.

    Returns:
        ``[envs, agents, rays]``, in [0, 1].
    """
    angle = torch.arange(rays, device=origin.device, dtype=origin.dtype) * (2 * math.pi / rays)
    direction = torch.stack([angle.cos(), angle.sin()], -1) * radius
    start = origin[:, :, None, None]
    end = start + direction[:, None]
    entry = entry_fraction(start, end, centre[:, None, None], half[:, None, None])
    return entry.amin(-1).clamp_max(1.0)
