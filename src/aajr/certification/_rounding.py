"""Bounds on the rounding error of certified bounds in float64."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aajr.certification._curves import curve_of
from aajr.certification._linear import FlatConv, Rescale, absolute, constant, terms

_UNIT = torch.finfo(torch.float64).eps / 2
_EXTRA_OPERATIONS = 32
_PACKAGE = (nn.Tanh, nn.Sigmoid, nn.ReLU)


def interval_margins(layers: nn.Sequential, magnitude: Tensor) -> Tensor:
    r"""A bound on the rounding error of IBP, and of the forward pass, for every output.

    The n operations of a layer have an error of at most n u G_k/(1 - n u), where u = 2⁻⁵³ and
    G_k = |W_k| m_{k-1} + |b_k| sums absolute values. An activation of slope at most c multiplies
    earlier errors by c and adds a few u of its values:

    .. math:: E_k = 4 n_k u\,G_k + |W_k| E_{k-1},

    with m_k = min(G_k, 1) after tanh, 1 after a sigmoid and |f(0)| + c G_k after other curves.

    Args:
        layers: layers of a :class:`Network`.
        magnitude: largest absolute input, ``[batch, features]``.

    Returns:
        Margins in output units, ``[batch, outputs]``.

    Source: Higham, Accuracy and stability of numerical algorithms, 2002, section 3.1.
    """
    size, error = magnitude, torch.zeros_like(magnitude)
    for layer in layers:
        if isinstance(layer, nn.Linear | FlatConv):
            size, error = _linear(layer, size, error, terms(layer))
        elif isinstance(layer, Rescale):
            error = _rescaled(layer, error)
            size = torch.full_like(size, layer.features**0.5)
            error = error + (_EXTRA_OPERATIONS + layer.features) * _UNIT * (1 + size)
        else:
            size, error = _curved(layer, size, error)
    return error


def relaxation_margins(layers: nn.Sequential, magnitude: Tensor) -> Tensor:
    r"""A bound on the rounding error of CROWN, for every output.

    CROWN sums products of weights, relaxation slopes, intercepts and inputs through all layers, so
    n_k counts the operations of all layers up to k. For tanh, sigmoid and ReLU slopes lie in [0, 1]
    and intercepts are at most 1 + |z|, with z the pre-activation, so m_k = 1 + 2 G_k. For other
    curves of slope c it is 1 + |f(0)| + 4c G_k. An interval that is too narrow by E moves the lines
    drawn on it by at most 4cE, and the errors of all earlier layers add up:

    .. math:: E_k = 4 n_k u\,G_k + 5\,c\,|W_k| E_{k-1}.

    Args and Returns:
        Those of :func:`interval_margins`; typical margins are 1e-11.
    """
    size, error, operations = magnitude, torch.zeros_like(magnitude), 0
    for layer in layers:
        if isinstance(layer, nn.Linear | FlatConv):
            operations += terms(layer) + _EXTRA_OPERATIONS
            size, error = _linear(layer, size, 5 * error, operations)
            continue
        if isinstance(layer, Rescale):
            operations += layer.features + _EXTRA_OPERATIONS
            error = 5 * _rescaled(layer, error)
            size = 1 + 4 * layer.slope * size
        elif isinstance(layer, _PACKAGE):
            size = 1 + 2 * size
        else:
            size, error = _lines(layer, size, error)
        error = error + _EXTRA_OPERATIONS * _UNIT * size
    return error


def _linear(
    layer: nn.Linear | FlatConv, size: Tensor, error: Tensor, operations: int
) -> tuple[Tensor, Tensor]:
    size = absolute(layer, size) + constant(layer).abs()
    moved = absolute(layer, error)
    return size, 4 * (operations + _EXTRA_OPERATIONS) * _UNIT * size + moved


def _rescaled(layer: Rescale, error: Tensor) -> Tensor:
    """Each output's error is at most the error of the whole row times the Jacobian's ‖·‖₂."""
    return layer.slope * error.norm(dim=-1, keepdim=True).expand_as(error)


def _curved(layer: nn.Module, size: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
    curve = curve_of(layer)
    size = curve.size(size)
    scale = torch.ones_like(size) if isinstance(layer, _PACKAGE) else 1 + size
    return size, curve.slope * error + _EXTRA_OPERATIONS * _UNIT * scale


def _lines(layer: nn.Module, size: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
    curve = curve_of(layer)
    at_zero = curve.function(torch.zeros_like(size)).abs()
    return 1 + at_zero + 4 * curve.slope * size, curve.slope * error
