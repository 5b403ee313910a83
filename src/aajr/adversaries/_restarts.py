"""The worst of several searches, per sample."""

from __future__ import annotations

import warnings
from dataclasses import replace

import torch
from torch import Tensor

from aajr._errors import MaskedGradientWarning
from aajr.trajectory import Trajectory


def higher_loss(first: Trajectory, second: Trajectory) -> Trajectory:
    """Per sample, the trajectory that reached the higher loss; passes add up.

    The result overwrites the first trajectory, to save memory, except for kept outputs.
    """
    better = second.losses.amax(0) > first.losses.amax(0)

    def choose(new: Tensor, old: Tensor, batch_dim: int, out: Tensor | None = None) -> Tensor:
        shape = [1] * old.ndim
        shape[batch_dim] = -1
        return torch.where(better.reshape(shape), new, old, out=out)

    outputs = None
    if first.outputs is not None and second.outputs is not None:
        outputs = choose(second.outputs, first.outputs, 1)
    return replace(
        first,
        points=choose(second.points, first.points, 1, first.points),
        gradients=choose(second.gradients, first.gradients, 1, first.gradients),
        losses=choose(second.losses, first.losses, 1, first.losses),
        worst=choose(second.worst, first.worst, 0, first.worst),
        forward_passes=first.forward_passes + second.forward_passes - 1,
        backward_passes=first.backward_passes + second.backward_passes,
        curvature_passes=first.curvature_passes + second.curvature_passes,
        outputs=outputs,
    )


def warn_if_masked(result: Trajectory, epsilon: float) -> None:
    """Warn with MaskedGradientWarning if all gradients of the search are zero."""
    if epsilon > 0 and result.gradients.abs().amax().item() == 0:
        warnings.warn(
            "the attack's gradient is zero everywhere (masked gradients): its result proves "
            "nothing. Use random_start=True for divergences, a smooth policy, or an attack "
            "without gradients",
            MaskedGradientWarning,
            stacklevel=4,
        )
