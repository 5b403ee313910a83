"""What the policies of the price experiment must do, and what its adversaries want."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from aajr.trajectory import Reference

Task = Literal["separate", "shared"]
TASKS: tuple[Task, ...] = ("separate", "shared")
INPUTS, SHARPNESS = 4, 8.0


def targets(x: Tensor, task: Task) -> Tensor:
    """Calm and sharp output of inputs in [-1, 1]⁴; the adversary's is the first."""
    calm = 0.3 * x[..., 0] + 0.1 * torch.sin(2 * x[..., 1])
    sharp = torch.tanh(SHARPNESS * x[..., 2])
    pair = (calm, sharp) if task == "separate" else (sharp, calm)
    return torch.stack(pair, -1)


def first_output(output: Tensor, reference: Reference) -> Tensor:
    """The adversary's objective: the first output."""
    return output[:, 0]


def squared_error(output: Tensor, reference: Reference) -> Tensor:
    """The objective of an adversary whom no policy was fitted against: the error of both."""
    return (output - reference.data["target"]).square().sum(1)


def global_optimum(gamma: float) -> float:
    r"""Least nominal error of **any** map with ‖J‖₂ ≤ γ everywhere, for γ ≥ 0.37.

    The calm output is free of charge, for its slope is below γ, and it reads other inputs. Of the
    sharp one the mean over the other inputs and the odd part err no more and obey the same bound
    (Jensen), and an odd f with |f'| ≤ γ has |f(t)| ≤ γ|t|. Hence f = min(γt, tanh 8t) for t ≥ 0 and

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
