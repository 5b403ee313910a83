"""The objective at perturbed points, checked."""

from __future__ import annotations

import torch
from torch import Tensor

from aajr._modes import Policy
from aajr.jacobian._directional import input_gradient
from aajr.trajectory import Objective, Reference


def checked_loss(objective: Objective, output: Tensor, reference: Reference) -> Tensor:
    """ℓ(output), ``[batch]``.

    Raises:
        ValueError: not one finite loss per sample.
    """
    loss = objective(output, reference)
    expected = reference.inputs.shape[:1]
    if not isinstance(loss, Tensor) or loss.shape != expected:
        kind = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise ValueError(
            f"the objective returned {kind}; it must return one loss per sample, "
            f"shape {tuple(expected)}"
        )
    if not torch.isfinite(loss).all():
        raise ValueError(
            "the objective returned NaN or infinite losses; check it at x + δ, and that every head "
            "of the policy allows some action"
        )
    return loss


def loss_at(policy: Policy, objective: Objective, point: Tensor, reference: Reference) -> Tensor:
    """ℓ(π(point)) without a graph, ``[batch]``."""
    with torch.no_grad():
        return checked_loss(objective, policy(point), reference)


def loss_and_gradient(
    policy: Policy, objective: Objective, point: Tensor, reference: Reference
) -> tuple[Tensor, Tensor]:
    """ℓ(π(point)) ``[batch]`` and its gradient ``[batch, *event]``, both detached.

    Raises:
        ValueError: a policy cut off from its input, NaN or infinite gradients.
    """
    with torch.enable_grad():
        point = point.detach().requires_grad_()
        loss = checked_loss(objective, policy(point), reference)
        gradient = input_gradient(loss, point, torch.ones_like(loss))
    if not torch.isfinite(gradient).all():
        raise ValueError("the objective's gradient holds NaN or infinite values; check it at x + δ")
    return loss.detach(), gradient


def losses_of_many(
    policy: Policy, objective: Objective, points: Tensor, reference: Reference
) -> Tensor:
    """ℓ(π(·)) at several points of every row, ``[P, batch, *event]`` to ``[P, batch]``."""
    count, batch = points.shape[:2]
    rows = torch.arange(batch, device=points.device).repeat(count)
    losses = loss_at(policy, objective, points.flatten(0, 1), reference.rows(rows))
    return losses.reshape(count, batch)


def over_rows(value: Tensor, like: Tensor) -> Tensor:
    """``[batch]`` with ones appended until it broadcasts to ``like``, ``[batch, *event]``."""
    return value.reshape(-1, *[1] * (like.ndim - 1))


def over_budgets(size: Tensor, event_dims: int) -> Tensor:
    """Sizes ``[batch, ...]`` of a ball with ones in place of the budget's dimensions."""
    return size[(...,) + (None,) * event_dims]
