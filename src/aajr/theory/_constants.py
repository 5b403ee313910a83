r"""Smoothness L and Lipschitz constants G of objectives and of networks.

An objective's constants hold on the outputs within a radius r of its centre, in the Euclidean norm.
Constants that hold everywhere do not depend on r. Derivations are in the docs under *Theory*.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from aajr.geometry import Categorical, DiagonalGaussian, Euclidean, Metric
from aajr.theory._numbers import refuse_negative


@dataclass(frozen=True)
class Constants:
    """‖∇ℓ‖₂ ≤ G and ‖∇²ℓ‖₂ ≤ L; for a map, ‖J‖₂ ≤ G and ‖D²[d, d]‖₂ ≤ L for unit d.

    Attributes:
        smoothness: L, a number or one per sample.
        lipschitz: G, a number or one per sample.
    """

    smoothness: float | Tensor
    lipschitz: float | Tensor

    def after(self, inner: Constants) -> Constants:
        """Constants of this function applied to ``inner``: L = L₁G₂² + G₁L₂ and G = G₁G₂.

        Example:
            >>> Constants(1.0, 2.0).after(Constants(3.0, 4.0))
            Constants(smoothness=22.0, lipschitz=8.0)
        """
        curved = _product(self.smoothness, inner.lipschitz, inner.lipschitz)
        bent = _product(self.lipschitz, inner.smoothness)
        return Constants(curved + bent, _product(self.lipschitz, inner.lipschitz))

    def scaled(self, weight: float | Tensor) -> Constants:
        """Constants of ``weight`` times the function.

        Example:
            >>> Constants(1.0, 2.0).scaled(-3.0)
            Constants(smoothness=3.0, lipschitz=6.0)
        """
        size = abs(weight)
        return Constants(_product(size, self.smoothness), _product(size, self.lipschitz))


def divergence_constants(metric: Metric, center: Tensor, radius: float | Tensor) -> Constants:
    r"""Constants of u ↦ D(c, u), hence of ``Divergence`` (c = π(x)) and ``Targeted`` (c = t).

    ================= ============================================ ============================
    metric            L                                            G
    ================= ============================================ ============================
    Euclidean         1                                            r
    Categorical       ½ (everywhere)                               min(½r, √(2H)), H heads
    DiagonalGaussian  max row sum of the Hessian's bounds          norm of the gradient's bounds
    ================= ============================================ ============================

    For the Gaussian, with b = e^{2(r - ρ)} ≥ e^{-2ρ'} for every ρ' = log σ' within r, the second
    derivatives are at most b, 2rb and 2(σ² + r²)b.

    Args:
        metric: geometry of the output.
        center: c, ``[batch, *output]``.
        radius: r, a number or ``[batch]``.

    Returns:
        Constants on ‖u - c‖₂ ≤ r.

    Raises:
        ValueError: a metric without known constants, a negative radius.

    Example:
        >>> import torch
        >>> divergence_constants(Euclidean(), torch.zeros(1, 2), radius=0.3)
        Constants(smoothness=1.0, lipschitz=0.3)
    """
    refuse_negative(radius=radius)
    if isinstance(metric, Euclidean):
        return Constants(1.0, radius)
    if isinstance(metric, Categorical):
        return Constants(0.5, _lesser(math.sqrt(2 * _heads(metric, center)), radius / 2))
    if isinstance(metric, DiagonalGaussian):
        _, log_scale = _halves(center)
        return _gaussian(log_scale, (2 * log_scale).exp(), radius, radius)
    raise _unknown(metric)


def surrogate_constants(
    metric: Metric, advantage: Tensor, center: Tensor, action: Tensor, radius: float | Tensor
) -> Constants:
    r"""Constants of u ↦ -A log π_u(a), hence of ``Surrogate``.

    For categorical heads ∇ = A (softmax(u) - e_a), so that ``G = |A|√(2H)`` and
    ``L = |A|/2`` everywhere.
    For a diagonal Gaussian, -log π = Σ ½(a - μ)²e^{-2ρ} + ρ has the derivatives of the divergence
    with ``|a - μ| + r`` in place of r and without the σ² term.

    Args:
        metric: family of the action distribution; Categorical or DiagonalGaussian.
        advantage: A, ``[batch]``.
        center: π(x), ``[batch, *output]``.
        action: a; read for the Gaussian only, ``[batch, *means]``.
        radius: r, a number or ``[batch]``.

    Returns:
        Constants ``[batch]`` on ‖u - π(x)‖₂ ≤ r.

    Raises:
        ValueError: a metric without known constants, a negative radius.

    Example:
        >>> import torch
        >>> logits, action = torch.zeros(1, 3), torch.zeros(1, dtype=torch.long)
        >>> surrogate_constants(Categorical(), torch.tensor([-4.0]), logits, action, 1.0).smoothness
        tensor([2.])
    """
    refuse_negative(radius=radius)
    if isinstance(metric, Categorical):
        everywhere = Constants(0.5, math.sqrt(2 * _heads(metric, center)))
        return everywhere.scaled(advantage)
    if isinstance(metric, DiagonalGaussian):
        mean, log_scale = _halves(center)
        gap = (action.reshape(mean.shape) - mean).abs() + _column(radius, mean)
        return _gaussian(log_scale, torch.zeros_like(mean), gap, radius).scaled(advantage)
    raise _unknown(metric)


def softmax_constants() -> Constants:
    r"""Constants of one softmax: ‖diag(p) - ppᵀ‖₂ ≤ ½ and ‖D²p[d, d]‖₂ ≤ 1.

    For the second bound, D²p[d, d]_i = p_i((d_i - d̄)² - v) with v = Σp_i(d_i - d̄)² ≤ ½. The sum of
    absolute values over i is at most 2v.

    Example:
        >>> softmax_constants()
        Constants(smoothness=1.0, lipschitz=0.5)
    """
    return Constants(1.0, 0.5)


def critic_constants(value: Constants, action: Constants | None = None) -> Constants:
    """Constants of u ↦ -Q(s, a(u)), hence of ``Critic``, from those of Q and of the action map.

    Args:
        value: constants of Q in the action, for instance from :func:`network_constants`.
        action: constants of the map from outputs to actions, for instance
            :func:`softmax_constants`; None if the output itself is the action.

    Returns:
        L_Q G_a² + G_Q L_a and G_Q G_a.

    Example:
        >>> critic_constants(Constants(1.0, 2.0), softmax_constants())
        Constants(smoothness=2.25, lipschitz=1.0)
    """
    return value if action is None else value.after(action)


_ACTIVATIONS: dict[type[nn.Module], Constants] = {
    nn.Tanh: Constants(4 / (3 * math.sqrt(3)), 1.0),
    nn.Softplus: Constants(0.25, 1.0),
    nn.Sigmoid: Constants(1 / (6 * math.sqrt(3)), 0.25),
    nn.ReLU: Constants(math.inf, 1.0),
}


def network_constants(network: nn.Module) -> Constants:
    r"""Proven global constants of a network of linear layers and smooth activations.

    A linear layer has G = ‖W‖₂ and L = 0; an activation applied per coordinate has
    ``G = sup|σ'|`` and ``L = sup|σ''|``, because ``‖σ''⊙d²‖₂ ≤ sup|σ''| ‖d‖₂²``. Layers compose by
    :meth:`Constants.after`.

    Args:
        network: nested ``Sequential`` of Linear, Tanh, Softplus(beta=1), Sigmoid, ReLU, Identity,
            Flatten and Dropout (which evaluation mode leaves out).

    Returns:
        ‖J‖₂ ≤ G and ‖D²π[d, d]‖₂ ≤ L everywhere; L is infinite with ReLU.

    Raises:
        ValueError: another layer.

    Example:
        >>> network_constants(nn.Sequential(nn.Identity(), nn.Tanh())).lipschitz
        1.0
    """
    total = Constants(0.0, 1.0)
    for layer in _leaves(network):
        total = _layer_constants(layer).after(total)
    return total


def _leaves(module: nn.Module) -> list[nn.Module]:
    if isinstance(module, nn.Sequential):
        return [leaf for child in module for leaf in _leaves(child)]
    return [module]


def _layer_constants(layer: nn.Module) -> Constants:
    if isinstance(layer, nn.Linear):
        # rounded up, so that it stays an upper bound
        norm = torch.linalg.matrix_norm(layer.weight.detach().double(), ord=2)
        return Constants(0.0, float(norm) * (1 + 1e-12))
    if isinstance(layer, nn.Identity | nn.Flatten | nn.Dropout):
        return Constants(0.0, 1.0)
    if type(layer) in _ACTIVATIONS and getattr(layer, "beta", 1.0) == 1.0:
        return _ACTIVATIONS[type(layer)]
    known = ", ".join(kind.__name__ for kind in _ACTIVATIONS)
    raise ValueError(
        f"the constants of {layer} are not known; give a Sequential of Linear, {known}, Identity, "
        "Flatten or Dropout, or measure with directional_curvature"
    )


def _product(*factors: Any) -> Any:
    # a weight of zero removes an infinite constant: 0 · ∞ counts as 0
    if any(isinstance(factor, float) and factor == 0 for factor in factors):
        return 0.0
    return math.prod(factors)


def _lesser(limit: float, value: float | Tensor) -> float | Tensor:
    return value.clamp_max(limit) if isinstance(value, Tensor) else min(limit, value)


def _heads(metric: Categorical, output: Tensor) -> int:
    groups = math.prod(output.shape[1:-1])
    return groups * len(metric.heads or (0,))


def _halves(center: Tensor) -> tuple[Tensor, Tensor]:
    mean, log_scale = center.chunk(2, -1)
    return mean.flatten(1), log_scale.flatten(1)


def _gaussian(
    log_scale: Tensor, variance: Tensor, gap: float | Tensor, radius: float | Tensor
) -> Constants:
    """Constants of Σ ρ' + ½(σ² + (μ - μ')²)e^{-2ρ'} for |μ - μ'| ≤ gap and |ρ' - ρ| ≤ radius."""
    gap, radius = _column(gap, log_scale), _column(radius, log_scale)
    precision = (2 * (radius - log_scale)).exp()
    energy = (variance + gap.square()) * precision
    cross = 2 * gap * precision
    smoothness = torch.maximum(precision + cross, 2 * energy + cross).amax(1)
    slope = (gap * precision).square() + torch.maximum(energy, torch.ones_like(energy)).square()
    return Constants(smoothness, slope.sum(1).sqrt())


def _column(value: float | Tensor, like: Tensor) -> Tensor:
    value = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    return (value.unsqueeze(-1) if value.ndim == 1 else value).expand_as(like)


def _unknown(metric: Metric) -> ValueError:
    return ValueError(
        f"the constants for metric={metric!r} are not known; use Euclidean, Categorical or "
        "DiagonalGaussian, or derive them and build Constants yourself"
    )
