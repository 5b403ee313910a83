"""Divergences with fifty decimal digits, where the textbook formulas lose nothing."""

from __future__ import annotations

from decimal import Decimal, localcontext

import torch
from torch import Tensor


def close_pair(seed: int, exponent: float, spread: float = 2.0) -> tuple[Tensor, Tensor]:
    """Two float32 outputs 10^exponent apart, ``[1, 6]``."""
    g = torch.Generator().manual_seed(seed)
    u = spread * torch.randn(1, 6, generator=g)
    return u, u + 10**exponent * torch.randn(1, 6, generator=g)


def softmax(logits: list[Decimal]) -> list[Decimal]:
    total = sum(value.exp() for value in logits)
    return [value.exp() / total for value in logits]


def categorical(u: Tensor, w: Tensor) -> tuple[float, Tensor]:
    """KL and its gradient in the second logits."""
    with localcontext() as context:
        context.prec = 50
        p, q = (softmax([Decimal(value) for value in row.flatten().tolist()]) for row in (u, w))
        kl = sum(a * (a / b).ln() for a, b in zip(p, q, strict=True))
        slope = [float(b - a) for a, b in zip(p, q, strict=True)]
    return float(kl), torch.tensor([slope])


def gaussian(u: Tensor, w: Tensor) -> tuple[float, Tensor]:
    """KL and its gradient in the second mean and log-scale."""
    with localcontext() as context:
        context.prec = 50
        rows = [[Decimal(value) for value in row.flatten().tolist()] for row in (u, w)]
        kl, means, scales = Decimal(0), [], []
        halves = (rows[0][:3], rows[0][3:], rows[1][:3], rows[1][3:])
        for mean, log, mean_, log_ in zip(*halves, strict=True):
            ratio, moved = (2 * (log - log_)).exp(), (mean_ - mean) / log_.exp()
            kl += log_ - log + (ratio + moved**2 - 1) / 2
            means.append(float(moved / log_.exp()))
            scales.append(float(1 - ratio - moved**2))
    return float(kl), torch.tensor([means + scales])
