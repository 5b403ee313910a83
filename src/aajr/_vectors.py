"""Lengths and unit vectors that neither underflow nor overflow."""

from __future__ import annotations

import torch
from torch import Tensor


def length(value: Tensor, dims: tuple[int, ...]) -> Tensor:
    """‖value‖₂ over ``dims``, which are kept with size 1.

    In float32 the squares of a vector of length 1e-25, for instance the gradient of a saturated
    policy, all round to zero. Squares are therefore summed in float64. A float64 vector is first
    divided by its largest entry.
    """
    if _widens(value):
        return _wide_norm(value, dims).to(value.dtype)
    peak = _peak(value, dims)
    return peak * torch.linalg.vector_norm(value / peak, dim=dims, keepdim=True)


def unit(value: Tensor, dims: tuple[int, ...]) -> Tensor:
    """``value / ‖value‖₂`` over ``dims``; zero stays zero."""
    if _widens(value):
        return (value / _wide_norm(value, dims).clamp_min(_TINY)).to(value.dtype)
    scaled = value / _peak(value, dims)
    norm = torch.linalg.vector_norm(scaled, dim=dims, keepdim=True)
    return scaled / norm.clamp_min(1.0)  # the largest entry is 1, or all entries are 0


def per_row(value: Tensor) -> tuple[int, ...]:
    """All dimensions but the first."""
    return tuple(range(1, value.ndim))


def widest(device: torch.device) -> torch.dtype:
    """The most precise float dtype of a device: Apple's devices have no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


_TINY = 1e-300
_SAFE = (1e-15, 1e15)


def _widens(value: Tensor) -> bool:
    return value.dtype != torch.float64 and widest(value.device) == torch.float64


def _wide_norm(value: Tensor, dims: tuple[int, ...]) -> Tensor:
    """‖value‖₂, summed in float64 where float32 may under- or overflow."""
    if value.device.type == "cpu" and value.dtype == torch.float32 and not transformed():
        norm = torch.linalg.vector_norm(value, dim=dims, keepdim=True)
        least, greatest = (bound.item() for bound in norm.detach().aminmax())
        if _SAFE[0] < least and greatest < _SAFE[1]:
            return norm
    return torch.linalg.vector_norm(value, dim=dims, keepdim=True, dtype=torch.float64)


def transformed() -> bool:
    """Whether this runs inside ``torch.func``, where code cannot branch on values."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def _peak(value: Tensor, dims: tuple[int, ...]) -> Tensor:
    peak = value.detach().abs().amax(dims, keepdim=True)
    return torch.where(peak > 0, peak, torch.ones_like(peak))
