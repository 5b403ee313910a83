"""Metrics of the output space: how far two outputs of a policy are apart.

Each metric M gives ‖Δu‖²_M = Δuᵀ M(u) Δu and a divergence D with
D(π(x), π(x + hv)) = ½ h² ‖Jv‖²_M + O(h³).

An output of -inf is the logit of a masked action. Norms, divergences and their gradients ignore
it. Divergences and norms of half-precision outputs are computed in float32.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from aajr import _shared
from aajr._vectors import transformed

_STEEP = 40.0  # eᶜ beyond this c may overflow, or meet a probability that underflows


class Metric(ABC):
    """A Riemannian metric M(u) on outputs ``[batch, ..., size]`` and its divergence."""

    @abstractmethod
    def apply(self, output: Tensor, tangent: Tensor) -> Tensor:
        """M(u) Δu, in the shape and dtype of ``tangent``."""

    @abstractmethod
    def factor(self, output: Tensor, noise: Tensor) -> Tensor:
        """S(u) ε with S Sᵀ = M(u), which turns standard normal noise into noise of covariance M."""

    @abstractmethod
    def divergence(self, output: Tensor, other: Tensor) -> Tensor:
        """D(u, w) ≥ 0, summed over all but the first dimension: ``[batch]``."""

    def squared_norm(self, output: Tensor, tangent: Tensor) -> Tensor:
        """Δuᵀ M(u) Δu, summed over all but the first dimension: ``[batch]``."""
        output, tangent = _raised(output), _allowed(output, _raised(tangent))
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
        """M Δu = Δu."""
        return _allowed(output, tangent)

    def factor(self, output: Tensor, noise: Tensor) -> Tensor:
        """ε."""
        return _allowed(output, noise)

    def divergence(self, output: Tensor, other: Tensor) -> Tensor:
        """½‖u - w‖²."""
        change = _raised(other) - _raised(output)
        if not _finite(change):
            change = _allowed(output, _allowed(other, change))
        return 0.5 * change.square().flatten(1).sum(1)

    def squared_norm(self, output: Tensor, tangent: Tensor) -> Tensor:
        """‖Δu‖², summed over all but the first dimension: ``[batch]``."""
        return _allowed(output, _raised(tangent)).square().flatten(1).sum(1)


@_shared.documented
@dataclass(frozen=True)
class Categorical(_shared.Categorical, Metric):
    """
    Example:
        >>> import torch
        >>> metric = Categorical(heads=(2, 3))
        >>> metric.squared_norm(torch.zeros(1, 5), torch.eye(5)[:1])
        tensor([0.2500])
    """

    def probabilities(self, output: Tensor) -> Tensor:
        """Softmax of every head, in the shape of ``output``."""
        return self._joined([head.softmax(self._axis) for head in self._split(output)])

    def log_probabilities(self, output: Tensor) -> Tensor:
        """Log-softmax of every head, in the shape of ``output``."""
        return self._joined([head.log_softmax(self._axis) for head in self._split(output)])

    def apply(self, output: Tensor, tangent: Tensor) -> Tensor:
        """p ⊙ (Δu - Σ p Δu) per head."""
        weighted = [p * centred for p, centred in self._centred(output, tangent)]
        return self._joined(weighted).to(tangent.dtype)

    def factor(self, output: Tensor, noise: Tensor) -> Tensor:
        """√p ⊙ ε - p Σ√p ε per head; its covariance is diag(p) - ppᵀ."""
        parts, axis = [], self._axis
        logits, draws = _raised(output), _allowed(output, _raised(noise))
        for u, e in zip(self._split(logits), self._split(draws), strict=True):
            log_p = u.log_softmax(axis)
            root = (0.5 * log_p).exp()  # the square root of p = 0 has no finite gradient
            parts.append(root * e - log_p.exp() * (root * e).sum(axis, keepdim=True))
        return self._joined(parts).to(noise.dtype)

    def divergence(self, output: Tensor, other: Tensor) -> Tensor:
        """KL(softmax(u) ‖ softmax(w)) summed over heads."""
        pairs = zip(self._split(_raised(output)), self._split(_raised(other)), strict=True)
        total = reduce(torch.add, [_relative_entropy(u, w, self._axis) for u, w in pairs])
        return total if total.ndim == 1 else total.flatten(1).sum(1)

    def squared_norm(self, output: Tensor, tangent: Tensor) -> Tensor:
        """Σ p (Δu - Σ p Δu)², summed over all but the first dimension: ``[batch]``."""
        parts = [p * centred.square() for p, centred in self._centred(output, tangent)]
        return self._joined(parts).flatten(1).sum(1)

    def _centred(self, output: Tensor, tangent: Tensor) -> list[tuple[Tensor, Tensor]]:
        """p and Δu - Σ p Δu of every head."""
        axis = self._axis
        logits, change = _raised(output), _allowed(output, _raised(tangent))
        pairs = zip(self._split(logits), self._split(change), strict=True)
        softmaxes = [(u.softmax(axis), t) for u, t in pairs]
        return [(p, t - (p * t).sum(axis, keepdim=True)) for p, t in softmaxes]

    @property
    def _axis(self) -> int:
        """The dimension along which the entries of a head lie; short last dims are slow to sum."""
        return -1 if self.heads is None or len(self.heads) == 1 else 0

    def _split(self, value: Tensor) -> tuple[Tensor, ...]:
        """The heads, with their entries along :attr:`_axis`."""
        if self.heads is None:
            return (value,)
        self._check_outputs(value.shape[-1])
        value = value.movedim(-1, self._axis).contiguous()
        return torch.split(value, list(self.heads), self._axis)

    def _joined(self, heads: list[Tensor]) -> Tensor:
        """The inverse of :meth:`_split`: all heads along the last dimension."""
        return torch.cat(heads, self._axis).movedim(self._axis, -1)


@_shared.documented
@dataclass(frozen=True)
class DiagonalGaussian(_shared.DiagonalGaussian, Metric):
    """
    Example:
        >>> import torch
        >>> DiagonalGaussian().squared_norm(torch.zeros(1, 2), torch.tensor([[1.0, 1.0]]))
        tensor([3.])
    """

    def apply(self, output: Tensor, tangent: Tensor) -> Tensor:
        """(Δμ/σ², 2Δlog σ)."""
        _, log_scale = _halves(_raised(output))
        mean, log_part = _halves(tangent)
        product = torch.cat([mean * (-2 * log_scale).exp(), 2 * log_part], -1)
        return product.to(tangent.dtype)

    def factor(self, output: Tensor, noise: Tensor) -> Tensor:
        """(ε₁/σ, √2 ε₂)."""
        _, log_scale = _halves(_raised(output))
        first, second = _halves(noise)
        product = torch.cat([first * (-log_scale).exp(), math.sqrt(2) * second], -1)
        return product.to(noise.dtype)

    def divergence(self, output: Tensor, other: Tensor) -> Tensor:
        """½(e^{2d} - 1 - 2d) + ½((μ - μ')/σ')² with d = log σ - log σ', summed."""
        mean, log_scale = _halves(_raised(output))
        other_mean, other_log = _halves(_raised(other))
        moved = (mean - other_mean) * (-other_log).exp()
        kl = 0.5 * (_excess(2 * (log_scale - other_log)) + moved.square())
        return kl.flatten(1).sum(1)


def _halves(value: Tensor) -> tuple[Tensor, Tensor]:
    _shared.check_halves(value.shape[-1])
    first, second = value.chunk(2, -1)
    return first, second


def _relative_entropy(u: Tensor, w: Tensor, axis: int) -> Tensor:
    """KL(softmax(u) ‖ softmax(w)) along an axis, without cancellation.

    With p = softmax(u) and the centred change c = (w - u) - Σp(w - u), Σpc = 0 gives
    KL = log Σ p eᶜ = log(1 + Σ p (eᶜ - 1 - c)), a sum of terms that are never negative.
    """
    p, c = u.softmax(axis), w - u
    c = c - (p * c).sum(axis, keepdim=True)
    if _on_host(c) and c.detach().amax().item() <= _STEEP:  # NaN where an action is masked
        return (p * _excess(c)).sum(axis).log1p()
    return _guarded_relative_entropy(u, w, axis)


def _guarded_relative_entropy(u: Tensor, w: Tensor, axis: int) -> Tensor:
    """:func:`_relative_entropy` for masked actions and distant logits, at several times the cost.

    Where some p eᶜ exceeds e, Σ p eᶜ is summed directly, divided by a power of e that keeps it
    small.
    """
    u = u.masked_fill(w == -math.inf, -math.inf)
    absent = u == -math.inf
    peak = u.detach().amax(axis, keepdim=True)
    raw = (u - peak).exp()
    total = raw.sum(axis, keepdim=True)
    p, change = raw / total, (w - u).masked_fill(absent, 0.0)
    mean = (p * change).sum(axis, keepdim=True)
    c, exponent = change - mean, (w - peak) - (total.log() + mean)
    shift = (exponent.detach().amax(axis, keepdim=True) - 1).clamp_min(0)
    weights = (exponent - shift).exp()  # p eᶜ; for actions that are absent in u, the weight under w
    plain = absent | (shift > 0) | (c > _STEEP)
    terms = torch.where(plain, weights - p, p * _excess(c.masked_fill(plain, 0.0)))
    return terms.sum(axis).log1p() + shift.squeeze(axis)


def _excess(c: Tensor) -> Tensor:
    """eᶜ - 1 - c ≥ 0, without cancellation.

    Near 0 it is the series c²/2! + c³/3! + c⁴/4! = (c + c²/2)²/6 + c²/3. Both forms are added, one
    of them as zero, because masks are many times slower.
    """
    if not transformed():
        value: Tensor = _Excess.apply(c)  # type: ignore[no-untyped-call]
        return value
    far = _far(c)  # an autograd Function would lose the second of two nested forward modes
    near = c - far
    return far.expm1() - far + (near + near.square() / 2).square() / 6 + near.square() / 3


class _Excess(torch.autograd.Function):
    """eᶜ - 1 - c with little memory: its derivative eᶜ - 1 is the value plus c."""

    @staticmethod
    def forward(ctx: Any, c: Tensor) -> Tensor:
        far = _far(c)
        value = far.expm1().sub_(far)
        near = torch.sub(c, far, out=far)
        value.addcmul_(near, near, value=1 / 3)
        half = torch.addcmul(near, near, near, value=1 / 2)
        value.addcmul_(half, half, value=1 / 6)
        # here and not in setup_context, for which torch inspects the signature at every call
        ctx.save_for_backward(c, value)
        ctx.save_for_forward(c, value)
        return value

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        c, value = ctx.saved_tensors
        return slope * (value + c)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        c, value = ctx.saved_tensors
        return tangent * (value + c)


def _far(c: Tensor) -> Tensor:
    """c, or 0 where the next term of the series, c³/60 of the sum, is below rounding."""
    limit = (60 * 16 * torch.finfo(c.dtype).eps) ** (1 / 3)
    return torch.nn.functional.hardshrink(c, limit)


def _allowed(output: Tensor, tangent: Tensor) -> Tensor:
    """The tangent with zeros at masked actions, where a difference of outputs is NaN."""
    if _finite(output):
        return tangent
    return tangent.masked_fill(output == -math.inf, 0.0)


def _raised(value: Tensor) -> Tensor:
    """The values, converted to float32 if they are in half precision."""
    return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value


def _finite(value: Tensor) -> bool:
    """Whether all entries can be read and are finite."""
    return _on_host(value) and math.isfinite(value.detach().sum().item())


def _on_host(value: Tensor) -> bool:
    """Whether reading entries is cheap: they are in CPU memory, outside ``torch.func``."""
    return value.is_cpu and value.numel() > 0 and not transformed()
