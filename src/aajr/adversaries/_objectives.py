"""What an adversary maximises: functions of the policy's output, one loss per sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from aajr import _shared
from aajr._checks import check_count
from aajr._modes import Policy, evaluating
from aajr.adversaries._evaluation import checked_loss, in_parts, loss_at, part_of
from aajr.geometry import Ball, Euclidean, Metric
from aajr.trajectory import Objective, Reference


@_shared.documented
@dataclass(frozen=True)
class Divergence(_shared.Divergence):
    """
    Example:
        >>> import torch
        >>> reference = Reference(torch.zeros(1, 2), outputs=torch.zeros(1, 2))
        >>> Divergence()(torch.tensor([[3.0, 4.0]]), reference)
        tensor([12.5000])
    """

    metric: Metric = field(default_factory=Euclidean)


@_shared.documented
@dataclass(frozen=True, eq=False)
class Critic(_shared.Critic):
    """If ``value`` is a module, it is in evaluation mode during a call."""

    def __call__(self, output: Tensor, reference: Reference) -> Tensor:
        """Negative value of the attacked action, ``[batch]``."""
        with evaluating(self.value):
            return super().__call__(output, reference)


@_shared.documented
@dataclass(frozen=True)
class Targeted(_shared.Targeted):
    """
    Example:
        >>> import torch
        >>> data = {"target": torch.tensor([[3.0, 4.0]])}
        >>> reference = Reference(torch.ones(1, 2), torch.zeros(1, 2), data)
        >>> Targeted()(torch.zeros(1, 2), reference)
        tensor([-12.5000])
    """

    metric: Metric = field(default_factory=Euclidean)


@torch.no_grad()
def objective_scale(
    objective: Objective,
    policy: Policy,
    x: Tensor,
    ball: Ball,
    generator: torch.Generator,
    draws: int = 8,
    data: Mapping[str, Tensor] | None = None,
) -> float:
    """Root mean square of ℓ(π(x + δ)) - ℓ(π(x)) over uniform δ: the scale of an objective.

    Args:
        objective: ℓ.
        policy: the victim.
        x: clean inputs, ``[batch, *event]``.
        ball: the threat set.
        generator: source of the draws.
        draws: number of draws per sample.
        data: what the objective reads.

    Returns:
        The scale, for :class:`Mixture`.

    Raises:
        ValueError: an objective that does not change in the ball; a count that is not positive.

    Example:
        >>> from aajr import LeastValue
        >>> g, ball = torch.Generator().manual_seed(0), Ball("linf", 3.0)
        >>> x = torch.zeros(1000, 1)
        >>> round(objective_scale(LeastValue(), torch.clone, x, ball, g), 1)  # 3/√3
        1.7
    """
    check_count("draws", draws)
    ball.check(x)
    with evaluating(policy):
        outputs = in_parts(lambda rows: policy(x[rows]), len(x))
        reference = Reference(x, outputs, dict(data or {}))
        clean = in_parts(
            lambda rows: checked_loss(objective, outputs[rows], part_of(reference, rows)), len(x)
        )
        total = torch.zeros_like(clean)
        for _ in range(draws):
            attacked = loss_at(policy, objective, x + ball.sample(x, generator), reference)
            total = total + (attacked - clean).square()
    scale = float((total / draws).mean().sqrt())
    if scale == 0:
        raise ValueError(
            "the objective does not change in the ball, so it has no scale; use a larger epsilon "
            "or another objective"
        )
    return scale
