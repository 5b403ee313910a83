"""Targets of the policies in the price experiment, and objectives of its adversaries."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from aajr.trajectory import Reference

Task = Literal["separate", "shared"]
TASKS: tuple[Task, ...] = ("separate", "shared")
INPUTS, SHARPNESS = 4, 8.0


def targets(x: Tensor, task: Task) -> Tensor:
    """Target outputs, calm and sharp, for inputs in [-1, 1]⁴; the adversary attacks the first."""
    calm = 0.3 * x[..., 0] + 0.1 * torch.sin(2 * x[..., 1])
    sharp = torch.tanh(SHARPNESS * x[..., 2])
    pair = (calm, sharp) if task == "separate" else (sharp, calm)
    return torch.stack(pair, -1)


def first_output(output: Tensor, reference: Reference) -> Tensor:
    """The adversary's objective: the first output."""
    return output[:, 0]


def squared_error(output: Tensor, reference: Reference) -> Tensor:
    """The squared error of both outputs: the objective of an adversary not used in fitting."""
    return (output - reference.data["target"]).square().sum(1)


def global_optimum(gamma: float) -> float:
    r"""Least nominal error of **any** map with ‖J‖₂ ≤ γ everywhere, for γ ≥ 0.37.

    The calm output can be fitted exactly: its slope is below γ, and it reads other inputs than the
    sharp output. For the sharp output, take the mean over the other inputs and then the odd part.
    By Jensen's inequality this does not increase the error, and the bound still holds. An odd f
    with |f'| ≤ γ satisfies |f(t)| ≤ γ|t|. The best f is therefore min(γt, tanh 8t) for t ≥ 0, and
    the least error is

    .. math:: \int_0^1 (\tanh 8t - \min(\gamma t, \tanh 8t))^2\,dt .

    Example:
        >>> global_optimum(8.0)
        0.0
        >>> round(global_optimum(1.0), 3)
        0.221
    """
    t = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    gap = (torch.tanh(SHARPNESS * t) - gamma * t).clamp_min(0)
    return float(torch.trapezoid(gap.square(), t))
