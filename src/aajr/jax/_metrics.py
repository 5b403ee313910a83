"""Metrics of the output space: how far two outputs of a policy are apart.

Each metric M gives ‖Δu‖²_M = Δuᵀ M(u) Δu and a divergence D with
D(π(x), π(x + hv)) = ½ h² ‖Jv‖²_M + O(h³).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import accumulate

import jax
import jax.numpy as jnp
from jax import Array

from aajr.jax._checks import check_count
from aajr.jax._functions import row_sum


class Metric(ABC):
    """A Riemannian metric M(u) on outputs ``[batch, ..., size]`` and its divergence."""

    @abstractmethod
    def apply(self, output: Array, tangent: Array) -> Array:
        """M(u) Δu, in the shape of ``tangent``."""

    @abstractmethod
    def factor(self, output: Array, noise: Array) -> Array:
        """S(u) ε with S Sᵀ = M(u): standard normal noise becomes noise of covariance M."""

    @abstractmethod
    def divergence(self, output: Array, other: Array) -> Array:
        """D(u, w) ≥ 0, summed over all but the first dimension: ``[batch]``."""

    def squared_norm(self, output: Array, tangent: Array) -> Array:
        """Δuᵀ M(u) Δu, summed over all but the first dimension: ``[batch]``."""
        return row_sum(tangent * self.apply(output, tangent))


@dataclass(frozen=True)
class Euclidean(Metric):
    """M = I, for deterministic policies; D(u, w) = ½‖u - w‖².

    Example:
        >>> import jax.numpy as jnp
        >>> Euclidean().squared_norm(jnp.zeros((1, 2)), jnp.array([[3.0, 4.0]]))
        Array([25.], dtype=float32)
    """

    def apply(self, output: Array, tangent: Array) -> Array:
        """Δu."""
        return tangent

    def factor(self, output: Array, noise: Array) -> Array:
        """ε."""
        return noise

    def divergence(self, output: Array, other: Array) -> Array:
        """½‖u - w‖²."""
        return 0.5 * row_sum(jnp.square(output - other))


@dataclass(frozen=True)
class Categorical(Metric):
    """Fisher metric of categorical logits, one or several heads: Σpu² - (Σpu)² per head.

    D is KL(softmax(u) ‖ softmax(w)), summed over heads.

    Attributes:
        heads: sizes of the heads that share the last dimension; None for a single head.

    Source: Amari, Natural gradient works efficiently in learning, 1998.

    Example:
        >>> import jax.numpy as jnp
        >>> Categorical(heads=(2, 3)).squared_norm(jnp.zeros((1, 5)), jnp.eye(5)[:1])
        Array([0.25], dtype=float32)
    """

    heads: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.heads == ():
            raise ValueError("heads=() is empty; give the sizes of the heads, or None for one head")
        for size in self.heads or ():
            check_count("heads", size, minimum=2)

    def probabilities(self, output: Array) -> Array:
        """Softmax of every head, in the shape of ``output``."""
        return jnp.concatenate(self._softmaxes(output), -1)

    def log_probabilities(self, output: Array) -> Array:
        """Log-softmax of every head, in the shape of ``output``."""
        return jnp.concatenate([jax.nn.log_softmax(u, -1) for u in self._split(output)], -1)

    def apply(self, output: Array, tangent: Array) -> Array:
        """p ⊙ (Δu - Σ p Δu) per head."""
        pairs = zip(self._softmaxes(output), self._split(tangent), strict=True)
        return jnp.concatenate([p * (t - (p * t).sum(-1, keepdims=True)) for p, t in pairs], -1)

    def factor(self, output: Array, noise: Array) -> Array:
        """√p ⊙ ε - p Σ√p ε per head; its covariance is diag(p) - ppᵀ."""
        pairs = zip(self._softmaxes(output), self._split(noise), strict=True)
        weighted = [(p, jnp.sqrt(p) * e) for p, e in pairs]
        return jnp.concatenate([w - p * w.sum(-1, keepdims=True) for p, w in weighted], -1)

    def divergence(self, output: Array, other: Array) -> Array:
        """KL(softmax(u) ‖ softmax(w)) summed over heads."""
        gap = self.log_probabilities(output) - self.log_probabilities(other)
        return row_sum(self.probabilities(output) * gap)

    def _softmaxes(self, output: Array) -> list[Array]:
        return [jax.nn.softmax(head, -1) for head in self._split(output)]

    def _split(self, value: Array) -> list[Array]:
        if self.heads is None:
            return [value]
        if sum(self.heads) != value.shape[-1]:
            raise ValueError(
                f"heads={self.heads} need {sum(self.heads)} outputs, the policy gives "
                f"{value.shape[-1]}; make them agree"
            )
        return jnp.split(value, list(accumulate(self.heads))[:-1], -1)


@dataclass(frozen=True)
class DiagonalGaussian(Metric):
    """Fisher metric of (μ, log σ), halves of the last dimension: ‖Δμ/σ‖² + 2‖Δlog σ‖².

    D is KL(N(μ, σ²) ‖ N(μ', σ'²)).

    Source: Amari, Natural gradient works efficiently in learning, 1998.

    Example:
        >>> import jax.numpy as jnp
        >>> DiagonalGaussian().squared_norm(jnp.zeros((1, 2)), jnp.array([[1.0, 1.0]]))
        Array([3.], dtype=float32)
    """

    def apply(self, output: Array, tangent: Array) -> Array:
        """(Δμ/σ², 2Δlog σ)."""
        _, log_scale = _halves(output)
        mean, log_part = _halves(tangent)
        return jnp.concatenate([mean * jnp.exp(-2 * log_scale), 2 * log_part], -1)

    def factor(self, output: Array, noise: Array) -> Array:
        """(ε₁/σ, √2 ε₂)."""
        _, log_scale = _halves(output)
        first, second = _halves(noise)
        return jnp.concatenate([first * jnp.exp(-log_scale), math.sqrt(2) * second], -1)

    def divergence(self, output: Array, other: Array) -> Array:
        """log σ'/σ + (σ² + (μ - μ')²)/(2σ'²) - ½, summed."""
        mean, log_scale = _halves(output)
        other_mean, other_log = _halves(other)
        spread = jnp.exp(2 * log_scale) + jnp.square(mean - other_mean)
        return row_sum(other_log - log_scale + 0.5 * spread * jnp.exp(-2 * other_log) - 0.5)


def _halves(value: Array) -> tuple[Array, Array]:
    if value.shape[-1] % 2:
        raise ValueError(
            f"the policy gives {value.shape[-1]} outputs, an odd number; a diagonal Gaussian needs "
            "as many log-scales as means, [means, log-scales]"
        )
    first, second = jnp.split(value, 2, -1)
    return first, second
