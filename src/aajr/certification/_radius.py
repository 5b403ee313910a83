"""The radius within which a discrete action provably cannot change."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from aajr._checks import check_count
from aajr.certification._bounds import Method, Propagator
from aajr.certification._network import read_network
from aajr.certification._region import check_ball
from aajr.geometry import Ball


def certified_radius(
    policy: Callable[[Tensor], Tensor],
    x: Tensor,
    ball: Ball,
    heads: Sequence[int] | None = None,
    *,
    steps: int = 12,
    method: Method = "crown",
    batch_size: int | None = None,
) -> Tensor:
    r"""The largest tested radius r ≤ ε at which no head's argmax can change, by bisection.

    With a the action at x, the margins u_a - u_j of every head are bounded as linear forms of the
    output. The action cannot change where all lower bounds are positive. Every tested radius has
    its own proof, which covers all smaller radii, so bisection is sound even if the bounds are not
    monotone in r.

    Args:
        policy: module of supported layers that returns logits.
        x: clean inputs, ``[batch, features]``.
        ball: the threat set; its ε is the largest radius tested.
        heads: sizes of the heads that share the last dimension; None for one head.
        steps: bisection steps; the radius is at most ε/2^steps below the best certifiable one.
        method: ``crown`` or ``ibp``.
        batch_size: rows per batch; by default as many as fit 256 MiB.

    Returns:
        Radii in units of ε, ``[batch]``, float64; 0 where nothing could be certified.

    Raises:
        ImportError: without the extra ``certify``.
        UnsupportedLayersError: a layer that is not covered.
        ValueError: heads that do not fit the output, NaN, shapes that do not fit.

    Example:
        >>> x = torch.tensor([[0.3, 0.0], [5.0, 0.0]])
        >>> policy = torch.nn.Linear(2, 2, bias=False)
        >>> _ = policy.weight.data.copy_(torch.eye(2))
        >>> certified_radius(policy, x, Ball("linf", 1.0)).round(decimals=2)
        tensor([0.1500, 1.0000], dtype=torch.float64)
    """
    check_ball(ball, x)
    check_count("steps", steps)
    propagator = Propagator(read_network(policy, x), method, batch_size)
    return radius_within(propagator, x, ball, heads, steps)


@torch.no_grad()
def radius_within(
    propagator: Propagator, x: Tensor, ball: Ball, heads: Sequence[int] | None, steps: int
) -> Tensor:
    """:func:`certified_radius` with a given propagator."""
    network = propagator.network
    forms = margin_forms(network(network.rows(x)), heads)

    def certain(radius: Tensor) -> Tensor:
        return (propagator.forms(x, ball, forms, radius).lower > 0).all(1)

    largest = x.new_full((len(x),), ball.epsilon, dtype=torch.float64)
    passed = torch.where(certain(largest), largest, 0.0)
    return bisect(certain, passed, largest, steps)[0]


def margin_forms(output: Tensor, heads: Sequence[int] | None) -> Tensor:
    """C with C u = u_a - u_j for every head and every j ≠ a; ``[batch, margins, outputs]``."""
    sizes = checked_heads(output, heads)
    blocks, start = [], 0
    for size, logits in zip(sizes, torch.split(output, sizes, -1), strict=True):
        top = logits.argmax(-1, keepdim=True)
        rest = torch.arange(size - 1, device=output.device).expand(len(output), -1)
        rest = rest + (rest >= top)  # the other actions in order
        block = output.new_zeros(len(output), size - 1, output.shape[-1])
        block.scatter_(2, (start + rest).unsqueeze(-1), -1.0)
        block.scatter_(2, (start + top).unsqueeze(1).expand(-1, size - 1, 1), 1.0)
        blocks.append(block)
        start += size
    return torch.cat(blocks, 1)


def checked_heads(output: Tensor, heads: Sequence[int] | None) -> list[int]:
    """Sizes of the heads; ValueError unless their sum is the size of the output."""
    sizes = [output.shape[-1]] if heads is None else list(heads)
    for size in sizes:
        check_count("heads", size, minimum=2)
    if output.ndim != 2 or not sizes or sum(sizes) != output.shape[-1]:
        raise ValueError(
            f"heads={tuple(sizes)} need logits [batch, {sum(sizes)}], the policy gives "
            f"{tuple(output.shape)}; make them agree"
        )
    return sizes


def bisect(
    holds: Callable[[Tensor], Tensor], passed: Tensor, failed: Tensor, steps: int
) -> tuple[Tensor, Tensor]:
    """A number at which a condition holds and one at which it fails, after ``steps`` halvings."""
    for _ in range(steps):
        middle = (passed + failed) / 2
        good = holds(middle)
        passed, failed = torch.where(good, middle, passed), torch.where(good, failed, middle)
    return passed, failed
