"""How far float64 arithmetic may have moved a bound."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_UNIT = torch.finfo(torch.float64).eps / 2
_EXTRA_OPERATIONS = 32


def interval_margins(layers: nn.Sequential, magnitude: Tensor) -> Tensor:
    r"""A bound on the rounding error of IBP, and of the forward pass, for every output.

    A layer's n operations err by at most n u G_k/(1 - n u), where u = 2⁻⁵³ and
    G_k = |W_k| m_{k-1} + |b_k| sums absolute values; an activation, of slope at most 1, adds a few
    u and passes earlier errors on:

    .. math:: E_k = 4 n_k u\,G_k + |W_k| E_{k-1},

    with m_k = min(G_k, 1) after tanh, 1 after a sigmoid and G_k after ReLU.

    Args:
        layers: linear layers and activations, float64.
        magnitude: largest absolute input, ``[batch, features]``.

    Returns:
        Margins in output units, ``[batch, outputs]``.

    Source: Higham, Accuracy and stability of numerical algorithms, 2002, section 3.1.
    """
    size, error = magnitude, torch.zeros_like(magnitude)
    for layer in layers:
        if isinstance(layer, nn.Linear):
            size, error = _linear(layer, size, error, layer.in_features)
        else:
            error = error + _EXTRA_OPERATIONS * _UNIT
            if isinstance(layer, nn.Tanh):
                size = size.clamp_max(1.0)
            elif isinstance(layer, nn.Sigmoid):
                size = torch.ones_like(size)
    return error


def relaxation_margins(layers: nn.Sequential, magnitude: Tensor) -> Tensor:
    r"""A bound on the rounding error of CROWN, for every output.

    CROWN sums products of weights, relaxation slopes (in [0, 1]), intercepts (at most 1 + |z|, z
    the pre-activation) and inputs through all layers, so that m_k = 1 + 2 G_k and n counts all
    layers so far. An interval that is too narrow by E moves a line of slope at most 1 that rests
    on it by at most 4E, and such errors of all earlier layers add up:

    .. math:: E_k = 4 n_k u\,G_k + 5\,|W_k| E_{k-1}.

    Args and Returns:
        As :func:`interval_margins`; typically 1e-11.
    """
    size, error, operations = magnitude, torch.zeros_like(magnitude), 0
    for layer in layers:
        if isinstance(layer, nn.Linear):
            operations += layer.in_features + _EXTRA_OPERATIONS
            size, error = _linear(layer, size, 5 * error, operations)
        else:
            size = 1 + 2 * size
            error = error + _EXTRA_OPERATIONS * _UNIT * size
    return error


def _linear(
    layer: nn.Linear, size: Tensor, error: Tensor, operations: int
) -> tuple[Tensor, Tensor]:
    weight = layer.weight.abs()
    size = size @ weight.T + layer.bias.abs()
    return size, 4 * (operations + _EXTRA_OPERATIONS) * _UNIT * size + error @ weight.T
