"""Distances between two answers of a language model, token by token."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

Head = Callable[[Tensor], Tensor]
Pair = Callable[[Tensor, Tensor], Tensor]


def resolved(value: Tensor) -> Tensor:
    """The value in float32; float64 stays."""
    return value if value.dtype == torch.float64 else value.float()


def fisher(logits: Tensor, moved: Tensor) -> Tensor:
    """Δuᵀ (diag p - ppᵀ) Δu = Var_p(Δu) with p = softmax(u): ``[tokens, vocabulary]`` to tokens.

    Source: Amari, Natural gradient works efficiently in learning, 1998.
    """
    change, p = moved - logits, logits.softmax(-1)
    centred = change - (p * change).sum(-1, keepdim=True)
    return (p * centred.square()).sum(-1)


def euclidean(logits: Tensor, moved: Tensor) -> Tensor:
    """‖Δu‖² of the centred change: a constant added to all logits is no change."""
    change = moved - logits
    return (change - change.mean(-1, keepdim=True)).square().sum(-1)


def symmetric_kl(logits: Tensor, moved: Tensor) -> Tensor:
    """KL(p ‖ q) + KL(q ‖ p)."""
    log_p, log_q = logits.log_softmax(-1), moved.log_softmax(-1)
    return ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(-1)


def squared(score: Tensor, moved: Tensor) -> Tensor:
    """‖Δr‖² of a reward model's scores."""
    return (moved - score).square().sum(-1)


def by_chunks(measure: Pair, head: Head, clean: Tensor, moved: Tensor, chunk: int) -> Tensor:
    """A measure of the logits at hidden states ``[tokens, d]``: ``[tokens]``.

    Only the logits of ``chunk`` tokens exist at a time; the backward pass computes them again.
    """

    def part(a: Tensor, b: Tensor) -> Tensor:
        return measure(resolved(head(a)), resolved(head(b)))

    pieces = [
        checkpoint(part, a, b, use_reentrant=False)
        for a, b in zip(torch.split(clean, chunk), torch.split(moved, chunk), strict=True)
    ]
    return torch.cat(pieces)


def hidden_change(clean: Tensor, moved: Tensor, sketch: int | None, seed: int) -> Tensor:
    """‖P Δh‖² with random signs P = ±1/√m, whose expectation is ‖Δh‖²; without a sketch ‖Δh‖².

    Source: Achlioptas, Database-friendly random projections, 2003.
    """
    change = resolved(moved) - resolved(clean)
    if sketch is not None:
        generator = torch.Generator().manual_seed(seed)
        signs = torch.randint(0, 2, (change.shape[-1], sketch), generator=generator)
        change = change @ ((2.0 * signs - 1) / sketch**0.5).to(change)
    return change.square().sum(-1)
