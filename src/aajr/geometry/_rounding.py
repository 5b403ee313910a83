"""Displacements δ such that x + δ, rounded to nearest, satisfies a bound exactly.

With machine epsilon u, fl(x + δ) is off by at most u (|x| + |δ|)/2, and rounding is monotone.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from aajr._vectors import length

_MUCH = 3e-5  # up to this share, rounding is subtracted from the radius; above, from each feature
_HALF = 0.51  # half, and a little for the rounding of the bounds themselves


@lru_cache(maxsize=256)
def float_rounded_down(value: float, dtype: torch.dtype) -> float:
    """The greatest number of a dtype that is at most ``value``."""
    return float(rounded_down(torch.tensor(value, dtype=torch.float64), dtype))


def rounded_down(value: Tensor, dtype: torch.dtype) -> Tensor:
    """The greatest numbers of a dtype that are at most those of ``value``."""
    near = value.to(dtype)
    above = near.to(torch.promote_types(value.dtype, dtype)) > value
    return torch.where(above, torch.nextafter(near, torch.full_like(near, -torch.inf)), near)


def reach(x: Tensor, radius: Tensor | float) -> Tensor:
    """A bound d, in the shape of x, with |fl(x + δ) - x| ≤ radius for all |δ| ≤ d.

    d = r - u (|x|/2 + r), and r at x = 0, where nothing is rounded.
    """
    u = torch.finfo(x.dtype).eps
    lost = x.abs().mul_(_HALF * u)
    lost += x.sign().abs_().mul(2 * _HALF * u * radius)
    return (radius - lost).clamp_min_(0)


def gap_to_face(x: Tensor, face: Tensor | float) -> Tensor:
    """The greatest d ≥ 0, to an ulp or two, with fl(x + d) ≤ face; 0 where x is beyond the face.

    fl(face - x) (1 - u) is below face - x, and rounding is monotone.
    """
    wider = torch.promote_types(x.dtype, torch.float32)
    gap = (face - x.to(wider)).clamp_min_(0).mul_(1 - torch.finfo(x.dtype).eps)
    return gap if x.dtype == wider else rounded_down(gap, x.dtype)


def loss_of_rounding(x: Tensor) -> Tensor:
    """h with |fl(x + δ) - x| ≤ |δ'| for δ = :func:`moved_inward` of δ' and h, in the shape of x."""
    finfo = torch.finfo(x.dtype)
    return x.abs() * (_HALF * finfo.eps) + finfo.smallest_normal * finfo.eps


def moved_inward(delta: Tensor, lost: Tensor) -> Tensor:
    """δ moved towards 0 by u |δ| + h, or as far as 0, in the dtype of h."""
    delta = delta * (1 - torch.finfo(lost.dtype).eps)
    return delta.sub_(delta.clamp(-lost, lost)).to(lost.dtype)


def radius_less_rounding(
    x: Tensor, scale: Tensor | None, budget_dims: int, epsilon: float
) -> tuple[Tensor, Tensor | None]:
    """An l2 radius minus the rounding error of x + δ, and the errors left for :func:`moved_inward`.

    With |fl(x + δ) - (x + δ)| ≤ u |x + δ|/2, the sum moves by at most ‖δ/s‖ + u (‖x/s‖ + ε)/2. A
    budget whose rounding error is more than 3e-5 ε keeps ε; its δ must be moved inward.

    Args:
        x: clean inputs where the adversary may act and 0 elsewhere, ``[batch, *event]``.
        scale: s, in x's shape; None for ones.
        budget_dims: trailing dimensions that share one budget.
        epsilon: ε, positive.

    Returns:
        The radius, ``[budgets, 1]``, and h of :func:`loss_of_rounding`, which is 0 where the radius
        allows for rounding; None if h is 0 everywhere.
    """
    units = x.to(torch.promote_types(x.dtype, torch.float32))
    units = units if scale is None else units / scale
    size = length(units.reshape(-1, math.prod(x.shape[-budget_dims:])), (-1,))
    radius = torch.full_like(size, epsilon * (1 - 4 * torch.finfo(size.dtype).eps))
    slack = _HALF * torch.finfo(x.dtype).eps * (size + 2 * epsilon)
    fine = slack <= _MUCH * epsilon
    if bool(fine.all()):
        return radius.sub_(slack), None
    rows = fine.reshape(*x.shape[:-budget_dims], *[1] * budget_dims)
    return torch.where(fine, radius - slack, radius), loss_of_rounding(x).masked_fill(rows, 0.0)
