"""What every adversary shares: checks before, proof of the budget after."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor

from aajr._modes import Policy, evaluating
from aajr.geometry import Ball
from aajr.trajectory import Reference, Trajectory


class MaskedGradientWarning(UserWarning):
    """The attack's gradient is zero everywhere, so its failure proves nothing."""


class Adversary(ABC):
    """Searches a ball for the perturbation that maximises its objective.

    A subclass writes :meth:`run`. The final call checks the input, sets evaluation mode, keeps
    the parameters' gradients untouched and asserts that every point lies in the ball.
    """

    ball: Ball

    @abstractmethod
    def run(self, policy: Policy, reference: Reference, generator: torch.Generator) -> Trajectory:
        """Search around ``reference.inputs``; the policy is in evaluation mode."""

    @final
    def __call__(
        self,
        policy: Policy,
        x: Tensor,
        generator: torch.Generator,
        data: Mapping[str, Tensor] | None = None,
    ) -> Trajectory:
        """Attack the policy at x.

        Args:
            policy: map from ``[batch, *event]`` to ``[batch, *output]``, independent between rows.
            x: clean inputs, ``[batch, *event]``.
            generator: source of all randomness, on x's device.
            data: tensors with one row per sample that the objective reads.

        Returns:
            The trajectory; its points are inside the ball.

        Raises:
            ValueError: NaN, wrong shape or dtype, an empty batch, a detached policy.
        """
        x = x.detach()
        self.ball.check(x)
        data = dict(data or {})
        for name, value in data.items():
            if value.shape[:1] != x.shape[:1]:
                raise ValueError(
                    f"data[{name!r}] has shape {tuple(value.shape)}; its first dimension must be "
                    f"the batch, {x.shape[0]}"
                )
        with evaluating(policy):
            with torch.no_grad():
                outputs = policy(x)
            _check_output(outputs, x)
            trajectory = self.run(policy, Reference(x, outputs, data), generator)
        size = self.ball.size(trajectory.points - x)
        tolerance = self.ball.epsilon * 1e-3 + 4 * torch.finfo(x.dtype).eps * x.abs().max()
        assert bool((size <= self.ball.epsilon + tolerance).all()), "a point left the ball"
        return trajectory


def _check_output(output: Tensor, x: Tensor) -> None:
    if output.shape[:1] != x.shape[:1] or output.ndim < 2:
        raise ValueError(
            f"the policy maps x {tuple(x.shape)} to {tuple(output.shape)}; "
            "it must keep the batch first and return [batch, ..., outputs]"
        )
    if not torch.isfinite(output).all():
        raise ValueError("the policy's output holds NaN or infinite values; check its parameters")
