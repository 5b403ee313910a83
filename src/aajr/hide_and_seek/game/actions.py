"""Convert the bins of the discrete action heads to continuous actions in [-1, 1]."""

from __future__ import annotations

import functools
import itertools

import torch
from torch import Tensor

BINS = (11, 11, 2, 2)
"""Sizes of the discrete heads: movement in x and y, grab, lock."""


def from_bins(actions: Tensor) -> Tensor:
    """Map bins to [-1, 1] as VMAS does: if a head has an odd number of bins, bin 0 maps to 0.

    Args:
        actions: ``[..., 4]``.

    Returns:
        Continuous actions of the same shape.

    Raises:
        ValueError: a bin does not exist.

    Example:
        >>> from_bins(torch.tensor([0, 1, 0, 1]))
        tensor([ 0., -1., -1.,  1.])
    """
    sizes, offsets, values = _bins(actions.device)
    if bool(((actions < 0) | (actions >= sizes)).any()):
        raise ValueError(
            f"action holds values in [{int(actions.min())}, {int(actions.max())}]; "
            f"give bins from 0 to below {BINS}"
        )
    return values[actions + offsets]


def in_range(actions: Tensor) -> Tensor:
    """Return continuous actions unchanged; raise ValueError if any is NaN or outside [-1, 1]."""
    if not bool((actions.abs() <= 1).all()):
        raise ValueError(
            f"action holds values in [{float(actions.min()):g}, {float(actions.max()):g}]; "
            "give finite numbers in [-1, 1]"
        )
    return actions


@functools.cache
def _bins(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Sizes of the heads, the offset of each in the table, and the table of continuous actions."""
    starts = [0, *itertools.accumulate(BINS[:-1])]
    table = torch.cat([_wishes(size) for size in BINS])
    return torch.tensor(BINS, device=device), torch.tensor(starts, device=device), table.to(device)


def _wishes(size: int) -> Tensor:
    places = list(range(size))
    if size % 2:  # bin 0 is the middle of the range
        places.insert(0, places.pop(size // 2))
    return torch.tensor(places) / (size - 1) * 2.0 - 1.0
