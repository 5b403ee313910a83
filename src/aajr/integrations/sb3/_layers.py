"""SB3's networks as chains of layers."""

from __future__ import annotations

import copy

import torch
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import (
    BaseFeaturesExtractor,
    FlattenExtractor,
    NatureCNN,
)
from torch import Tensor, nn

from aajr._layers import Layered


def feature_layers(policy: BasePolicy, extractor: BaseFeaturesExtractor) -> nn.Sequential:
    """Layers from the policy's input to its features, with SB3's division of images by 255.

    Raises:
        ValueError: a custom extractor without ``as_sequential``.
    """
    if type(extractor) is FlattenExtractor:
        layers = nn.Sequential(nn.Flatten())
    elif type(extractor) is NatureCNN:
        layers = nn.Sequential(extractor.cnn, extractor.linear)
    elif isinstance(extractor, Layered):
        layers = extractor.as_sequential()
    else:
        raise ValueError(
            f"features_extractor={type(extractor).__name__} is not read by bound propagation; give "
            "it a method as_sequential() that returns its layers as torch.nn.Sequential"
        )
    scaled = policy.normalize_images and is_image_space(policy.observation_space)
    return nn.Sequential(_Pixels(), layers) if scaled else layers


class _Pixels(nn.Identity):
    """Marks that the first weights read pixel levels divided by 255."""


def joined(*parts: nn.Module) -> nn.Sequential:
    """One chain of the parts; the first weights absorb the division by 255."""
    chain = nn.Sequential(*parts)
    if not any(isinstance(module, _Pixels) for module in chain.modules()):
        return chain
    leaves = [m for m in chain.modules() if not isinstance(m, nn.Sequential | _Pixels)]
    for index, leaf in enumerate(leaves):
        if isinstance(leaf, nn.Linear | nn.Conv2d):
            leaves[index] = _divided(leaf)
            break
    return nn.Sequential(*leaves)


def _divided(layer: nn.Linear | nn.Conv2d) -> nn.Module:
    scaled = copy.deepcopy(layer)
    with torch.no_grad():
        scaled.weight /= 255
    return scaled


def widened(head: nn.Linear, rows: Tensor, constant: Tensor) -> nn.Linear:
    """A layer with the head's outputs at ``rows`` and zeros elsewhere, plus ``constant``."""
    wide = nn.Linear(head.in_features, len(constant), device=head.weight.device)
    wide = wide.to(head.weight.dtype)
    with torch.no_grad():
        wide.weight.zero_()
        wide.weight[rows] = head.weight
        wide.bias.copy_(constant)
        wide.bias[rows] += head.bias
    return wide
