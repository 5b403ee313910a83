"""Metrics of the output space: how far two outputs of a policy are apart.

Each metric M gives ‖Δu‖²_M = Δuᵀ M(u) Δu and a divergence D with
D(π(x), π(x + hv)) = ½ h² ‖Jv‖²_M + O(h³).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from aajr._checks import check_count


class Metric(ABC):
    """A Riemannian metric M(u) on outputs ``[batch, ..., size]`` and its divergence."""

    @abstractmethod
    def apply(self, output: Tensor, tangent: Tensor) -> Tensor:
        """M(u) Δu, in the shape of ``tangent``."""

    @abstractmethod
    def factor(self, output: Tensor, noise: Tensor) -> Tensor:
        """S(u) ε with S Sᵀ = M(u): standard normal noise becomes noise of covariance M."""

    @abstractmethod
    def divergence(self, output: Tensor, other: Tensor) -> Tensor:
        """D(u, w) ≥ 0, summed over all but the first dimension: ``[batch]``."""

    def squared_norm(self, output: Tensor, tangent: Tensor) -> Tensor:
        """Δuᵀ M(u) Δu, summed over all but the first dimension: ``[batch]``."""
        return (tangent * self.apply(output, tangent)).flatten(1).sum(1)


@dataclass(frozen=True)
class Euclidean(Metric):
    """M = I, for deterministic policies; D(u, w) = ½‖u - w‖².

    Example:
        >>> import torch
        >>> Euclidean().squared_norm(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]))
        tensor([25.])
    """

    def apply(self, output: Tensor, tangent: Tensor) -> Tensor:
        """Δu."""
        return tangent

    def factor(self, output: Tensor, noise: Tensor) -> Tensor:
        """ε."""
        return noise

    def divergence(self, output: Tensor, other: Tensor) -> Tensor:
        """½‖u - w‖²."""
        return 0.5 * (output - other).square().flatten(1).sum(1)


@dataclass(frozen=True)
class Categorical(Metric):
    """Fisher metric of categorical logits, one or several heads: Σpu² - (Σpu)² per head.

    D is KL(softmax(u) ‖ softmax(w)), summed over heads.

    Attributes:
        heads: sizes of the heads that share the last dimension; None for a single head.

    Source: Amari, Natural gradient works efficiently in learning, 1998.

    Example:
        >>> import torch
        >>> metric = Categorical(heads=(2, 3))
        >>> metric.squared_norm(torch.zeros(1, 5), torch.eye(5)[:1])
        tensor([0.2500])
    """

    heads: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.heads == ():
            raise ValueError("heads=() is empty; give the sizes of the heads, or None for one head")
        for size in self.heads or ():
            check_count("heads", size, minimum=2)

    def probabilities(self, output: Tensor) -> Tensor:
        """Softmax of every head, in the shape of ``output``."""
        return torch.cat([head.softmax(-1) for head in self._split(output)], -1)

    def log_probabilities(self, output: Tensor) -> Tensor:
        """Log-softmax of every head, in the shape of ``output``."""
        return torch.cat([head.log_softmax(-1) for head in self._split(output)], -1)

    def apply(self, output: Tensor, tangent: Tensor) -> Tensor:
        """p ⊙ (Δu - Σ p Δu) per head."""
        return torch.cat(
            [
                p * (t - (p * t).sum(-1, keepdim=True))
                for p, t in zip(self._softmaxes(output), self._split(tangent), strict=True)
            ],
            -1,
        )

    def factor(self, output: Tensor, noise: Tensor) -> Tensor:
        """√p ⊙ ε - p Σ√p ε per head; its covariance is diag(p) - ppᵀ."""
        return torch.cat(
            [
                p.sqrt() * e - p * (p.sqrt() * e).sum(-1, keepdim=True)
                for p, e in zip(self._softmaxes(output), self._split(noise), strict=True)
            ],
            -1,
        )

    def divergence(self, output: Tensor, other: Tensor) -> Tensor:
        """KL(softmax(u) ‖ softmax(w)) summed over heads."""
        gap = self.log_probabilities(output) - self.log_probabilities(other)
        return (self.probabilities(output) * gap).flatten(1).sum(1)

    def _softmaxes(self, output: Tensor) -> list[Tensor]:
        return [head.softmax(-1) for head in self._split(output)]

    def _split(self, value: Tensor) -> tuple[Tensor, ...]:
        if self.heads is None:
            return (value,)
        if sum(self.heads) != value.shape[-1]:
            raise ValueError(
                f"heads={self.heads} need {sum(self.heads)} outputs, the policy gives "
                f"{value.shape[-1]}; make them agree"
            )
        return torch.split(value, list(self.heads), -1)


@dataclass(frozen=True)
class DiagonalGaussian(Metric):
    """Fisher metric of (μ, log σ), halves of the last dimension: ‖Δμ/σ‖² + 2‖Δlog σ‖².

    D is KL(N(μ, σ²) ‖ N(μ', σ'²)).

    Source: Amari, Natural gradient works efficiently in learning, 1998.

    Example:
        >>> import torch
        >>> DiagonalGaussian().squared_norm(torch.zeros(1, 2), torch.tensor([[1.0, 1.0]]))
        tensor([3.])
    """

    def apply(self, output: Tensor, tangent: Tensor) -> Tensor:
        """(Δμ/σ², 2Δlog σ)."""
        _, log_scale = _halves(output)
        mean, log_part = _halves(tangent)
        return torch.cat([mean * (-2 * log_scale).exp(), 2 * log_part], -1)

    def factor(self, output: Tensor, noise: Tensor) -> Tensor:
        """(ε₁/σ, √2 ε₂)."""
        _, log_scale = _halves(output)
        first, second = _halves(noise)
        return torch.cat([first * (-log_scale).exp(), math.sqrt(2) * second], -1)

    def divergence(self, output: Tensor, other: Tensor) -> Tensor:
        """log σ'/σ + (σ² + (μ - μ')²)/(2σ'²) - ½, summed."""
        mean, log_scale = _halves(output)
        other_mean, other_log = _halves(other)
        spread = (2 * log_scale).exp() + (mean - other_mean).square()
        kl = other_log - log_scale + 0.5 * spread * (-2 * other_log).exp() - 0.5
        return kl.flatten(1).sum(1)


def _halves(value: Tensor) -> tuple[Tensor, Tensor]:
    if value.shape[-1] % 2:
        raise ValueError(
            f"the policy gives {value.shape[-1]} outputs, an odd number; a diagonal Gaussian needs "
            "as many log-scales as means, [means, log-scales]"
        )
    first, second = value.chunk(2, -1)
    return first, second
