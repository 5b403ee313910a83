"""Metrics of the output space: how far two outputs of a policy are apart.

Each metric M gives ‖Δu‖²_M = Δuᵀ M(u) Δu and a divergence D with
D(π(x), π(x + hv)) = ½ h² ‖Jv‖²_M + O(h³).

An output of -inf is the logit of a masked action: it takes no part in norms, divergences and
their gradients. Divergences and norms of half-precision outputs are computed in float32.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import accumulate

import jax
import jax.numpy as jnp
from jax import Array, lax

from aajr import _shared
from aajr.jax._functions import limits, row_sum


class Metric(ABC):
    """A Riemannian metric M(u) on outputs ``[batch, ..., size]`` and its divergence."""

    @abstractmethod
    def apply(self, output: Array, tangent: Array) -> Array:
        """M(u) Δu, in the shape and dtype of ``tangent``."""

    @abstractmethod
    def factor(self, output: Array, noise: Array) -> Array:
        """S(u) ε with S Sᵀ = M(u): standard normal noise becomes noise of covariance M."""

    @abstractmethod
    def divergence(self, output: Array, other: Array) -> Array:
        """D(u, w) ≥ 0, summed over all but the first dimension: ``[batch]``."""

    def squared_norm(self, output: Array, tangent: Array) -> Array:
        """Δuᵀ M(u) Δu, summed over all but the first dimension: ``[batch]``."""
        output, tangent = _raised(output), _allowed(output, _raised(tangent))
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
        return _allowed(output, tangent)

    def factor(self, output: Array, noise: Array) -> Array:
        """ε."""
        return _allowed(output, noise)

    def divergence(self, output: Array, other: Array) -> Array:
        """½‖u - w‖²."""
        change = _allowed(output, _allowed(other, _raised(other) - _raised(output)))
        return 0.5 * row_sum(jnp.square(change))


@_shared.documented
@dataclass(frozen=True)
class Categorical(_shared.Categorical, Metric):
    """
    Example:
        >>> import jax.numpy as jnp
        >>> Categorical(heads=(2, 3)).squared_norm(jnp.zeros((1, 5)), jnp.eye(5)[:1])
        Array([0.25], dtype=float32)
    """

    def probabilities(self, output: Array) -> Array:
        """Softmax of every head, in the shape of ``output``."""
        return jnp.concatenate([jax.nn.softmax(u, -1) for u in self._split(output)], -1)

    def log_probabilities(self, output: Array) -> Array:
        """Log-softmax of every head, in the shape of ``output``."""
        return jnp.concatenate([jax.nn.log_softmax(u, -1) for u in self._split(output)], -1)

    def apply(self, output: Array, tangent: Array) -> Array:
        """p ⊙ (Δu - Σ p Δu) per head."""
        weighted = [p * centred for p, centred in self._centred(output, tangent)]
        return jnp.concatenate(weighted, -1).astype(tangent.dtype)

    def factor(self, output: Array, noise: Array) -> Array:
        """√p ⊙ ε - p Σ√p ε per head; its covariance is diag(p) - ppᵀ."""
        parts = []
        logits, draws = _raised(output), _allowed(output, _raised(noise))
        for u, e in zip(self._split(logits), self._split(draws), strict=True):
            log_p = jax.nn.log_softmax(u, -1)
            root = jnp.exp(0.5 * log_p)  # the square root of p = 0 has no finite gradient
            parts.append(root * e - jnp.exp(log_p) * (root * e).sum(-1, keepdims=True))
        return jnp.concatenate(parts, -1).astype(noise.dtype)

    def divergence(self, output: Array, other: Array) -> Array:
        """KL(softmax(u) ‖ softmax(w)) summed over heads."""
        pairs = zip(self._split(_raised(output)), self._split(_raised(other)), strict=True)
        return row_sum(jnp.concatenate([_relative_entropy(u, w) for u, w in pairs], -1))

    def squared_norm(self, output: Array, tangent: Array) -> Array:
        """Σ p (Δu - Σ p Δu)², summed over all but the first dimension: ``[batch]``."""
        parts = [p * jnp.square(centred) for p, centred in self._centred(output, tangent)]
        return row_sum(jnp.concatenate(parts, -1))

    def _centred(self, output: Array, tangent: Array) -> list[tuple[Array, Array]]:
        """p and Δu - Σ p Δu of every head."""
        logits, change = _raised(output), _allowed(output, _raised(tangent))
        pairs = zip(self._split(logits), self._split(change), strict=True)
        softmaxes = [(jax.nn.softmax(u, -1), t) for u, t in pairs]
        return [(p, t - (p * t).sum(-1, keepdims=True)) for p, t in softmaxes]

    def _split(self, value: Array) -> list[Array]:
        if self.heads is None:
            return [value]
        self._check_outputs(value.shape[-1])
        return jnp.split(value, list(accumulate(self.heads))[:-1], -1)


@_shared.documented
@dataclass(frozen=True)
class DiagonalGaussian(_shared.DiagonalGaussian, Metric):
    """
    Example:
        >>> import jax.numpy as jnp
        >>> DiagonalGaussian().squared_norm(jnp.zeros((1, 2)), jnp.array([[1.0, 1.0]]))
        Array([3.], dtype=float32)
    """

    def apply(self, output: Array, tangent: Array) -> Array:
        """(Δμ/σ², 2Δlog σ)."""
        _, log_scale = _halves(_raised(output))
        mean, log_part = _halves(tangent)
        product = jnp.concatenate([mean * jnp.exp(-2 * log_scale), 2 * log_part], -1)
        return product.astype(tangent.dtype)

    def factor(self, output: Array, noise: Array) -> Array:
        """(ε₁/σ, √2 ε₂)."""
        _, log_scale = _halves(_raised(output))
        first, second = _halves(noise)
        product = jnp.concatenate([first * jnp.exp(-log_scale), math.sqrt(2) * second], -1)
        return product.astype(noise.dtype)

    def divergence(self, output: Array, other: Array) -> Array:
        """½(e^{2d} - 1 - 2d) + ½((μ - μ')/σ')² with d = log σ - log σ', summed."""
        mean, log_scale = _halves(_raised(output))
        other_mean, other_log = _halves(_raised(other))
        moved = (mean - other_mean) * jnp.exp(-other_log)
        return 0.5 * row_sum(_excess(2 * (log_scale - other_log)) + jnp.square(moved))


def _halves(value: Array) -> tuple[Array, Array]:
    _shared.check_halves(value.shape[-1])
    first, second = jnp.split(value, 2, -1)
    return first, second


def _relative_entropy(u: Array, w: Array) -> Array:
    """KL(softmax(u) ‖ softmax(w)) without cancellation, ``[..., size]`` to ``[..., 1]``.

    With p = softmax(u) and the centred change c = (w - u) - Σp(w - u), Σpc = 0 gives
    KL = log Σ p eᶜ = log(1 + Σ p (eᶜ - 1 - c)), a sum of terms that are never negative. Where
    some p eᶜ exceeds e, Σ p eᶜ is summed directly, after division by a power of e.
    """
    u = jnp.where(w == -jnp.inf, -jnp.inf, u)
    absent = u == -jnp.inf
    peak = lax.stop_gradient(u.max(-1, keepdims=True))
    raw = jnp.exp(u - peak)
    total = raw.sum(-1, keepdims=True)
    p, change = raw / total, jnp.where(absent, 0.0, w - u)
    mean = (p * change).sum(-1, keepdims=True)
    c, exponent = change - mean, (w - peak) - (jnp.log(total) + mean)
    shift = jnp.maximum(lax.stop_gradient(exponent).max(-1, keepdims=True) - 1, 0)
    weights = jnp.exp(exponent - shift)  # p eᶜ, or the weight of an absent action in w
    near, far = _near(c), shift > 0
    terms = weights - p * (1 + jnp.where(far, 0.0, c))
    terms = jnp.where((near == c) & ~(absent | far), p * _series(near), terms)
    return jnp.log1p(terms.sum(-1, keepdims=True)) + shift


def _excess(c: Array) -> Array:
    """eᶜ - 1 - c ≥ 0, without cancellation."""
    near = _near(c)
    return jnp.where(near == c, _series(near), jnp.expm1(c) - c)


def _near(c: Array) -> Array:
    """c, limited to where the next term of the series below, c⁴/360 of the sum, is rounding."""
    limit = (360 * 16 * float(limits(c).eps)) ** (1 / 4)
    return jnp.where(jnp.abs(c) < limit, c, jnp.sign(c) * limit)


def _series(c: Array) -> Array:
    """c²/2! + c³/3! + c⁴/4! + c⁵/5!."""
    return jnp.square(c) / 2 * (1 + c / 3 * (1 + c / 4 * (1 + c / 5)))


def _allowed(output: Array, tangent: Array) -> Array:
    """The tangent with zeros at masked actions, where a difference of outputs is NaN."""
    return jnp.where(output == -jnp.inf, 0.0, tangent)


def _raised(value: Array) -> Array:
    """Half precision converted to float32."""
    return value.astype(jnp.float32) if value.dtype.itemsize == 2 else value
