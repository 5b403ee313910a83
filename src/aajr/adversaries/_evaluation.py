"""The objective at perturbed points, with checks and for a bounded number of rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from aajr._checks import all_finite, check_count
from aajr._modes import Policy
from aajr.jacobian import input_gradient
from aajr.trajectory import Objective, Reference, output_at

_ROWS: ContextVar[int] = ContextVar("rows", default=65536)


@contextmanager
def rows_at_once(count: int) -> Iterator[None]:
    """Bound the number of rows that adversaries pass to a policy at a time, 65536 by default.

    It bounds their memory and changes no result: rows are independent, and all random numbers are
    drawn for the whole batch. The last bits may differ if the kernels of the policy depend on the
    number of rows, as those of matrix products of a few rows may.

    Args:
        count: greatest number of rows per evaluation.

    Raises:
        ValueError: a count that is not a positive whole number.

    Example:
        >>> import torch
        >>> from aajr import Ball, RandomSearch
        >>> from aajr.adversaries import rows_at_once
        >>> with rows_at_once(2):
        ...     found = RandomSearch(Ball("linf", 0.1))(
        ...         torch.tanh, torch.zeros(5, 3), torch.Generator().manual_seed(0)
        ...     )
    """
    check_count("count", count)
    token = _ROWS.set(count)
    try:
        yield
    finally:
        _ROWS.reset(token)


def row_bound() -> int:
    """The bound set by :func:`rows_at_once`."""
    return _ROWS.get()


def parts(rows: int) -> list[slice]:
    """Slices of the rows, each as long as the bound allows."""
    bound = row_bound()
    if rows <= bound:
        return [slice(None)]
    return [slice(k, k + bound) for k in range(0, rows, bound)]


def in_parts(function: Callable[[slice], Tensor], rows: int) -> Tensor:
    """Apply the function to every part of the rows and join the results."""
    return joined([function(part) for part in parts(rows)])


def joined(found: list[Tensor]) -> Tensor:
    """The parts as one tensor, ``[batch, ...]``."""
    return found[0] if len(found) == 1 else torch.cat(found)


def part_of(reference: Reference, rows: slice) -> Reference:
    """The reference of some rows; itself for all of them."""
    return reference if rows == slice(None) else reference.rows(rows)


def checked_loss(objective: Objective, output: Tensor, reference: Reference) -> Tensor:
    """ℓ(output), ``[batch]``.

    Raises:
        ValueError: an objective that does not give one finite loss per sample.
    """
    loss = objective(output, reference)
    expected = reference.inputs.shape[:1]
    if not isinstance(loss, Tensor) or loss.shape != expected:
        kind = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise ValueError(
            f"the objective returned {kind}; it must return one loss per sample, "
            f"shape {tuple(expected)}"
        )
    if not all_finite(loss):
        raise ValueError(
            "the objective returned NaN or infinite losses; check it at x + δ, and that every head "
            "of the policy allows some action"
        )
    return loss


def loss_at(policy: Policy, objective: Objective, point: Tensor, reference: Reference) -> Tensor:
    """ℓ(π(point)) without a graph, ``[batch]``."""

    def losses(rows: slice) -> Tensor:
        part = part_of(reference, rows)
        return checked_loss(objective, output_at(policy, point[rows], part), part)

    with torch.no_grad():
        return in_parts(losses, len(point))


def loss_and_gradient(
    policy: Policy,
    objective: Objective,
    point: Tensor,
    reference: Reference,
    kept: list[Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """ℓ(π(point)) ``[batch]`` and its gradient ``[batch, *event]``, both detached.

    The outputs with their graph are appended to ``kept``, if it is given.

    Raises:
        ValueError: a policy cut off from its input, NaN or infinite gradients.
    """
    losses: list[Tensor] = []

    def gradient(rows: slice) -> Tensor:
        place = point[rows].detach()
        if kept is not None:
            place = place.clone()  # the graph outlives the search, which may write to its points
        part = part_of(reference, rows)
        output = output_at(policy, place.requires_grad_(), part)
        loss = checked_loss(objective, output, part)
        losses.append(loss.detach())
        if kept is not None:
            kept.append(output)
        return input_gradient(loss, place, torch.ones_like(loss), retain_graph=kept is not None)

    with torch.enable_grad():
        gradients = in_parts(gradient, len(point))
    check_gradient(gradients)
    return joined(losses), gradients


def check_gradient(gradient: Tensor) -> None:
    """Raise ValueError if a gradient of the objective is NaN or infinite."""
    if not all_finite(gradient):
        raise ValueError("the objective's gradient holds NaN or infinite values; check it at x + δ")


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
    """Sizes ``[batch, ...]`` of a ball, with dimensions of one in place of the budget's."""
    return size[(...,) + (None,) * event_dims]
