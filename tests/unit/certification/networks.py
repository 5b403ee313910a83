"""Networks and points whose worst case is known, or can be searched densely."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from aajr import Ball

ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "relu": nn.ReLU}


def network(
    activation: str, *, seed: int, gain: float = 1.0, sizes: tuple[int, ...] = (3, 8, 7, 4)
) -> nn.Sequential:
    """A random network with weights of order ``gain`` and biases."""
    generator = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layer = nn.Linear(before, after)
        for parameter in layer.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data.copy_(gain * noise / before**0.5)
        layers += [layer, ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


def linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """A layer with the given weights."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None).to(weight.dtype)
    layer.weight.data.copy_(weight)
    if bias is not None:
        layer.bias.data.copy_(bias)
    return layer


def orthogonal_chain(
    lipschitz: float, *, size: int = 4, depth: int = 3, seed: int = 0
) -> nn.Module:
    """A linear map c·Q, as a product of orthogonal layers: its Lipschitz constant is c exactly."""
    generator = torch.Generator().manual_seed(0)
    layers = []
    for index in range(depth):
        layer = nn.Linear(size, size, dtype=torch.float64)
        nn.init.orthogonal_(layer.weight, lipschitz if index == 0 else 1.0, generator)
        layers.append(layer)
    return nn.Sequential(*layers)


def dense_points(ball: Ball, x: Tensor, count: int = 4000, seed: int = 0) -> Tensor:
    """Points of the ball around every row, ``[count, batch, features]``: half on its surface."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, *x.shape, generator=generator, dtype=x.dtype)
    noise[: count // 2] *= 1e3
    rows = x.expand_as(noise).flatten(0, 1)
    return (rows + ball.project(noise.flatten(0, 1), rows)).reshape(noise.shape)
