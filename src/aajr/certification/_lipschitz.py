"""A proven global Lipschitz constant."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from aajr.certification._curves import curve_of
from aajr.certification._linear import FlatConv, Rescale, matrix_norm
from aajr.certification._network import supported_network

# Far above the error of a float64 singular value decomposition.
_ROUND_UP = 1 + 1e-10


@torch.no_grad()
def certified_lipschitz(policy: Callable[[Tensor], Tensor], weights: Tensor | None = None) -> float:
    r"""‖π(x + δ) - π(x)‖₂ ≤ Lip · ‖δ/s‖₂ for all x and δ: a product over the layers.

    .. math:: \mathrm{Lip} = \|W_1 \operatorname{diag}(s)\|_2 \prod_{k>1} c_k \|W_k\|_2

    with c = 1 for tanh, ReLU and ELU, ¼ for the sigmoid, 1.13 for GELU, 1.1 for SiLU and 1/√ε for
    layer normalisation; for a convolution ``sqrt(‖W‖₁ ‖W‖_∞)`` stands for ‖W‖₂.

    Args:
        policy: module of supported layers, see :func:`supported_network`.
        weights: s, non-negative, ``[features]``: the ball's scale on attackable features and zero
            elsewhere, for a bound per unit of ε; ones by default.

    Returns:
        The constant, rounded up.

    Raises:
        UnsupportedLayersError: a layer that is not covered.
        ValueError: weights that do not fit, are negative or NaN.

    Example:
        >>> policy = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Tanh())
        >>> _ = policy[0].weight.data.copy_(torch.diag(torch.tensor([3.0, 4.0])))
        >>> round(certified_lipschitz(policy), 6)
        4.0
        >>> round(certified_lipschitz(policy, torch.tensor([1.0, 0.0])), 6)
        3.0

    Source: Szegedy et al., Intriguing properties of neural networks, 2014,
    https://arxiv.org/abs/1312.6199, section 4.3.
    """
    return chain_lipschitz(supported_network(policy).layers, weights)


@torch.no_grad()
def chain_lipschitz(layers: nn.Sequential, weights: Tensor | None = None) -> float:
    """:func:`certified_lipschitz` of a network's layers."""
    constant, pending = 1.0, _checked(weights, layers)
    for layer in layers:
        if isinstance(layer, nn.Linear | FlatConv):
            constant *= matrix_norm(layer, pending) * _ROUND_UP
        else:
            constant *= _slope(layer)
            constant *= 1.0 if pending is None else float(pending.max())
        pending = None
    return constant


def _slope(layer: nn.Module) -> float:
    if isinstance(layer, Rescale):
        return layer.slope * _ROUND_UP
    return curve_of(layer).slope


def _checked(weights: Tensor | None, layers: nn.Sequential) -> Tensor | None:
    if weights is None:
        return None
    first = next((m for m in layers if isinstance(m, nn.Linear | FlatConv)), None)
    if weights.ndim != 1 or (first is not None and len(weights) != first.in_features):
        expected = "[features]" if first is None else f"({first.in_features},)"
        raise ValueError(f"weights has shape {tuple(weights.shape)}; give {expected}")
    if not bool((weights.isfinite() & (weights >= 0)).all()):
        raise ValueError("weights holds negative, NaN or infinite values; give scales >= 0")
    return weights.double()
