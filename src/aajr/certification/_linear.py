"""Layers that torch lacks, on flat rows in float64."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv1d_input, conv2d_input


class FlatConv(nn.Module):
    """A convolution on flat rows, ``[batch, features]`` to ``[batch, outputs]``.

    Args:
        conv: ``Conv1d`` or ``Conv2d`` in float64, with zeros as padding.
        shape: shape of its input, without the batch.
    """

    def __init__(self, conv: nn.Conv1d | nn.Conv2d, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.conv = conv
        self.shape = shape
        probe = torch.zeros(1, *shape, dtype=conv.weight.dtype, device=conv.weight.device)
        self.out_shape = tuple(conv(probe).shape[1:])
        self.in_features, self.out_features = math.prod(shape), math.prod(self.out_shape)

    def forward(self, x: Tensor) -> Tensor:
        """The convolution."""
        return self.apply_weights(x, self.conv.weight) + self.constant

    @property
    def constant(self) -> Tensor:
        """The bias of every output, ``[outputs]``."""
        size = math.prod(self.out_shape[1:])
        if self.conv.bias is None:
            return self.conv.weight.new_zeros(self.out_features)
        return self.conv.bias.repeat_interleave(size)

    def apply_weights(self, x: Tensor, weight: Tensor) -> Tensor:
        """The linear part with other weights, ``[..., features]`` to ``[..., outputs]``."""
        image = x.reshape(-1, *self.shape)
        run = functional.conv2d if isinstance(self.conv, nn.Conv2d) else functional.conv1d
        output: Tensor = run(image, weight, None, *self._geometry())
        return output.reshape(*x.shape[:-1], self.out_features)

    def apply_transposed(self, u: Tensor, weight: Tensor) -> Tensor:
        """The transposed linear part, ``[..., outputs]`` to ``[..., features]``."""
        image = u.reshape(-1, *self.out_shape)
        size = (len(image), *self.shape)
        run = conv2d_input if isinstance(self.conv, nn.Conv2d) else conv1d_input
        result: Tensor = run(size, weight, image, *self._geometry())  # type: ignore[no-untyped-call]
        return result.reshape(*u.shape[:-1], self.in_features)

    def _geometry(self) -> tuple[Any, ...]:
        conv = self.conv
        return conv.stride, conv.padding, conv.dilation, conv.groups


class SmoothSoftplus(nn.Softplus):
    """log(1 + exp(βz))/β everywhere; torch instead returns z where βz exceeds the threshold.

    Args:
        beta: β > 0.
        threshold: threshold of torch, which gives the greatest ``gap`` between the two functions.
    """

    def __init__(self, beta: float, threshold: float) -> None:
        super().__init__(beta, max(threshold, 40.0))  # from 40 on the jump is below rounding
        self.gap = math.exp(-threshold) / beta


class Rescale(nn.Module):
    """z / sqrt(mean(z²) + ε) of each row, the nonlinear part of layer and RMS normalisation.

    Args:
        features: number of features of a row.
        epsilon: ε > 0.
    """

    def __init__(self, features: int, epsilon: float) -> None:
        super().__init__()
        self.features = features
        self.epsilon = epsilon

    def forward(self, z: Tensor) -> Tensor:
        """The rescaled row."""
        return z / (z.square().mean(-1, keepdim=True) + self.epsilon).sqrt()

    @property
    def slope(self) -> float:
        """1/√ε, which bounds the spectral norm of the Jacobian."""
        return 1 / math.sqrt(self.epsilon)

    def rest(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Least and greatest ε + Σ_{j≠i} z_j²/n over a box, for every i."""
        squares = torch.maximum(lower.square(), upper.square()) / self.features
        crosses = (lower < 0) & (upper > 0)
        least = torch.minimum(lower.square(), upper.square()).masked_fill(crosses, 0.0)
        least = least / self.features
        low, high = (part.sum(-1, keepdim=True) - part for part in (least, squares))
        # the difference of two sums has the rounding error of both
        slip = 4 * self.features * torch.finfo(lower.dtype).eps
        low = (low - slip * least.sum(-1, keepdim=True)).clamp_min(0.0)
        return low + self.epsilon, high + slip * squares.sum(-1, keepdim=True) + self.epsilon

    def value(self, z: Tensor, rest: Tensor) -> Tensor:
        """z_i / sqrt(z_i²/n + rest): rises with z_i, and shrinks as the rest grows."""
        return z / (z.square() / self.features + rest).sqrt()


def absolute(layer: nn.Linear | FlatConv, size: Tensor) -> Tensor:
    """|W| size, ``[..., features]`` to ``[..., outputs]``."""
    if isinstance(layer, FlatConv):
        return layer.apply_weights(size, layer.conv.weight.abs())
    return size @ layer.weight.abs().T


def constant(layer: nn.Linear | FlatConv) -> Tensor:
    """The bias, ``[outputs]``."""
    return layer.constant if isinstance(layer, FlatConv) else layer.bias


def terms(layer: nn.Linear | FlatConv) -> int:
    """Number of products that are summed for one output."""
    if isinstance(layer, FlatConv):
        return layer.conv.weight[0].numel()
    return layer.in_features


def matrix_norm(layer: nn.Linear | FlatConv, scale: Tensor | None) -> float:
    """An upper bound on ‖W diag(scale)‖₂; for a convolution sqrt(‖W‖₁ ‖W‖_∞)."""
    if isinstance(layer, nn.Linear):
        matrix = layer.weight if scale is None else layer.weight * scale
        return float(torch.linalg.matrix_norm(matrix, ord=2))
    weight = layer.conv.weight.abs()
    factor = weight.new_ones(layer.in_features) if scale is None else scale.to(weight)
    rows = layer.apply_weights(factor.unsqueeze(0), weight).max()
    columns = layer.apply_transposed(weight.new_ones(1, layer.out_features), weight)
    return float((rows * (columns * factor).max()).sqrt())
