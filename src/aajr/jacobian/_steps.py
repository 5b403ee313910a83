"""The step of a difference quotient, and a warning where rounding hides the difference."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from aajr._errors import ResolutionWarning
from aajr._inspection import inspect
from aajr._modes import Policy
from aajr._vectors import length, per_row, unit

_FACTOR = {1: 4.0, 2: 2.0}


@dataclass(frozen=True, eq=False)
class DifferenceStep:
    """A displacement along v, and the factor that turns the change of the output into Jv.

    Attributes:
        displacement: h v̂, ``[batch, *event]``.
        inverse: ‖v‖/h, ``[batch]``.
        precision: the coarsest floating dtype in which the policy computes.
    """

    displacement: Tensor
    inverse: Tensor
    precision: torch.dtype

    def slope(self, start: Tensor, end: Tensor) -> Tensor:
        """(end - start) ‖v‖/h for outputs ``[batch, *output]``.

        Warns:
            ResolutionWarning: over the batch, rounding may be more than half of the change.
        """
        change = end - start
        _warn_if_unresolved(start, change, torch.finfo(self.precision).eps)
        return change * self.inverse.reshape(-1, *[1] * (change.ndim - 1))


def difference_step(policy: Policy, x: Tensor, v: Tensor, order: int) -> DifferenceStep:
    """The step that balances truncation against rounding.

    .. math:: h_1 = 4 \\sqrt r, \\quad h_2 = 2 \\sqrt[3]r, \\qquad
       r = u \\max(1, \\|x \\odot \\hat v\\|_2)

    u is the machine epsilon of the coarsest precision in which the policy computes, so r is the
    resolution of x along v.

    Args:
        policy: map from ``[batch, *event]`` to ``[batch, *output]``.
        x: points, ``[batch, *event]``.
        v: directions, ``[batch, *event]``.
        order: 1 for a one-sided difference, 2 for a central one.

    Example:
        >>> x, v = torch.tensor([[0.0, 1e4]]), torch.tensor([[2.0, 0.0]])
        >>> difference_step(torch.tanh, x, v, order=1).displacement
        tensor([[0.0014, 0.0000]])

    Source: Press et al., Numerical Recipes, 2007, section 5.7.
    """
    dims, direction = per_row(x), unit(v, per_row(v))
    precision = inspect(policy, x)
    touched = length(x * direction, dims).clamp_min(1.0)
    h = _FACTOR[order] * (torch.finfo(precision).eps * touched) ** (1 / (order + 1))
    return DifferenceStep(h * direction, (length(v, dims) / h).flatten(), precision)


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """A context with autocast off if x has full precision: no differences in half precision.

    Example:
        >>> layer, x = torch.nn.Linear(2, 2), torch.zeros(1, 2)
        >>> with torch.autocast("cpu", torch.bfloat16), full_precision(x):
        ...     layer(x).dtype
        torch.float32
    """
    device = x.device.type
    if x.dtype.itemsize < 4 or not torch.is_autocast_enabled(device):
        return nullcontext()
    return torch.autocast(device, enabled=False)


def _warn_if_unresolved(start: Tensor, change: Tensor, eps: float) -> None:
    rounding = eps * float(torch.linalg.vector_norm(start.detach()))
    if 0 < float(torch.linalg.vector_norm(change.detach())) < 2 * rounding:
        warnings.warn(
            f"a difference of outputs of about {float(start.detach().abs().mean()):.2g} is mostly "
            f"rounding of {eps:.1g}; compute the policy in float32, or use "
            "estimator='forward_mode'",
            ResolutionWarning,
            stacklevel=5,
        )
