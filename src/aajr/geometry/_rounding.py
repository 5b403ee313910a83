"""Displacements δ such that x + δ, rounded to nearest, keeps a promise exactly.

With machine epsilon u, fl(x + δ) is off by at most u (|x| + |δ|)/2, and rounding is monotone.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

_HALF = 0.51  # half, and a little for what the bounds themselves round


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


def room(x: Tensor, face: Tensor) -> Tensor:
    """A greatest d, but for an ulp or two, with fl(x + d) ≤ face, where x ≤ face."""
    wider = torch.promote_types(x.dtype, torch.float32)
    if x.dtype != wider:  # in which face - x may overflow
        return rounded_down(face.to(wider) - x, x.dtype)
    gap = face - x
    over = (x + gap - face).clamp_min_(0).sign_()
    return torch.addcmul(gap, gap, over, value=-torch.finfo(x.dtype).eps)


def loss_of_rounding(x: Tensor) -> Tensor:
    """h with |fl(x + δ) - x| ≤ |δ'| for δ = :func:`inward` of δ' and h, in the shape of x."""
    finfo = torch.finfo(x.dtype)
    return x.abs() * (_HALF * finfo.eps) + finfo.smallest_normal * finfo.eps


def inward(delta: Tensor, lost: Tensor) -> Tensor:
    """δ moved towards 0 by u |δ| + h, or as far as 0, in the dtype of h."""
    delta = delta * (1 - torch.finfo(lost.dtype).eps)
    return delta.sub_(delta.clamp(-lost, lost)).to(lost.dtype)
