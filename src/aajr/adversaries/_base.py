"""What every adversary shares: checks before, proof of the budget after."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, final

import torch
from torch import Tensor

from aajr._checks import check_batch, check_generator
from aajr._modes import Policy, evaluating
from aajr.adversaries._reach import Watched, reached
from aajr.geometry._threat import ThreatSet
from aajr.trajectory import Objective, Reference, Trajectory


class MaskedGradientWarning(UserWarning):
    """The attack's gradient is zero everywhere, so its failure proves nothing."""


class Adversary(ABC):
    """Searches a ball for the perturbation that maximises its objective.

    A subclass writes :meth:`run` and names its objective, if it climbs one. The final call checks
    the input, sets evaluation mode, keeps the parameters' gradients untouched, and asserts that
    every point lies in the ball and that the perturbation reached the policy.

    Attributes:
        ball: the threat set.
        objective: ℓ, what it maximises, if anything.
        needs: names of the data it cannot do without; attacks over an episode read ``time``
            ``[batch]``, ``previous`` and ``history``.
    """

    ball: ThreatSet
    objective: Objective | None = None
    needs: ClassVar[tuple[str, ...]] = ()

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
            ValueError: NaN, wrong shape or dtype, an empty batch, a detached policy, a generator
                on another device, data that the adversary needs and did not get.
        """
        check_batch("x", x)
        x = x.detach()
        self.ball.check(x)
        check_generator(generator, x)
        data = dict(data or {})
        _check_data(data, x, self.needs)
        with evaluating(policy):
            with torch.no_grad():
                outputs = policy(x)
            _check_output(outputs, x)
            watched = Watched(policy, x)
            trajectory = self.run(watched, Reference(x, outputs, data), generator)
        assert self._inside(trajectory), "a point left the ball"
        assert reached(watched, trajectory), "the perturbation did not reach the policy"
        return trajectory

    def _inside(self, trajectory: Trajectory) -> bool:
        x = trajectory.origin
        points = torch.cat([trajectory.points, trajectory.worst.unsqueeze(0)])
        # x + δ - x rounds by an ulp of x, which the scale may magnify
        rounding = self.ball.size(4 * torch.finfo(x.dtype).eps * (x.abs() + (points - x).abs()))
        excess = self.ball.size(points - x) - self.ball.epsilon
        return bool((excess <= 1e-3 * self.ball.epsilon + rounding).all())


def _check_data(data: Mapping[str, Tensor], x: Tensor, needs: tuple[str, ...]) -> None:
    for name, value in data.items():
        if not isinstance(value, Tensor):
            raise ValueError(
                f"data[{name!r}] is a {type(value).__name__}; give a tensor with one row per sample"
            )
        if value.shape[:1] != x.shape[:1]:
            raise ValueError(
                f"data[{name!r}] has shape {tuple(value.shape)}; its first dimension must be "
                f"the batch, {x.shape[0]}"
            )
    for name in needs:
        if name not in data:
            known = ", ".join(sorted(data)) or "nothing"
            raise ValueError(
                f"the adversary needs data[{name!r}] but data holds {known}; pass "
                f"data={{{name!r}: tensor with one row per sample}}"
            )


def _check_output(output: Tensor, x: Tensor) -> None:
    if not isinstance(output, Tensor):
        raise ValueError(
            f"the policy returned a {type(output).__name__}; wrap it to return one tensor of "
            "means, logits or distribution parameters"
        )
    if output.shape[:1] != x.shape[:1] or output.ndim < 2:
        raise ValueError(
            f"the policy maps x {tuple(x.shape)} to {tuple(output.shape)}; "
            "it must keep the batch first and return [batch, ..., outputs]"
        )
    if not torch.isfinite(output).all():
        raise ValueError("the policy's output holds NaN or infinite values; check its parameters")
