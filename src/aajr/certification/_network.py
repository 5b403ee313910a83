"""Networks that bound propagation covers, as plain float64 copies."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from aajr._modes import evaluating

Activation = nn.Tanh | nn.Sigmoid | nn.ReLU
SUPPORTED = "Linear, Tanh, Sigmoid, ReLU, Identity, Flatten(1), Dropout and nested Sequential"


class UnsupportedLayersError(ValueError):
    """A policy that bound propagation does not cover, so that nothing can be certified."""


@dataclass(frozen=True, eq=False)
class Network:
    """A policy as a chain of linear layers and activations, ``[batch, features]`` to outputs.

    Attributes:
        layers: ``Linear``, ``Tanh``, ``Sigmoid`` and ``ReLU`` only, float64, frozen copies.
        flattens: whether the policy begins with ``Flatten(1)`` and so takes more dimensions.
    """

    layers: nn.Sequential
    flattens: bool

    def rows(self, x: Tensor) -> Tensor:
        """x as ``[batch, features]`` in float64."""
        if x.ndim > 2 and not self.flattens:
            raise UnsupportedLayersError(
                f"x has shape {tuple(x.shape)}, and the first layer is applied to every row of a "
                "sample; hand in the rows, x.flatten(0, -2), or begin with nn.Flatten(1)"
            )
        return x.detach().double().flatten(1)

    def __call__(self, x: Tensor) -> Tensor:
        """π(x) in float64."""
        output: Tensor = self.layers(x.flatten(1))
        return output


@torch.no_grad()
def supported_network(policy: Callable[[Tensor], Tensor]) -> Network:
    """The policy's function in evaluation mode, from copies of its weights.

    Args:
        policy: nested ``Sequential`` of the supported layers, or an actor of
            :mod:`aajr.training`. Parametrised layers (``orthogonal``, ``spectral_norm``) count as
            what they compute.

    Returns:
        The network; the policy itself is left alone.

    Raises:
        UnsupportedLayersError: another layer, a layer with hooks or a forward pass of its own.
        ValueError: NaN or infinite weights.

    Example:
        >>> policy = nn.Sequential(nn.Flatten(), nn.Linear(2, 3), nn.Dropout())
        >>> supported_network(policy).layers
        Sequential(
          (0): Linear(in_features=2, out_features=3, bias=True)
        )
    """
    with evaluating(policy):
        leaves = _leaves(_unwrapped(policy), "policy")
        flattens = bool(leaves) and isinstance(leaves[0][1], nn.Flatten)
        kept = [_copy(name, leaf) for name, leaf in leaves if not _is_identity(leaf)]
    if not kept:
        raise UnsupportedLayersError("the policy has no layer that computes; there is no bound")
    return Network(nn.Sequential(*kept).requires_grad_(False).eval(), flattens)


def _unwrapped(policy: Any) -> object:
    # whoever holds an Actor has imported its module, so that the extra 'rl' is not needed here
    models = sys.modules.get("aajr.training.models")
    if models is None or type(policy) is not models.Actor or _altered(policy):
        return policy
    network: nn.Module = policy.network
    return network


def _leaves(module: object, name: str) -> list[tuple[str, nn.Module]]:
    if not isinstance(module, nn.Module):
        raise UnsupportedLayersError(
            f"{name} is a {type(module).__name__}, not a torch.nn.Module whose layers can be read; "
            f"supported are {SUPPORTED}"
        )
    if _altered(module):
        raise UnsupportedLayersError(
            f"{name} ({type(module).__name__}) has hooks or a replaced forward pass, which bounds "
            "would not see; remove them"
        )
    if isinstance(module, nn.Sequential) and _computes_as(module, nn.Sequential):
        children = module.named_children()
        return [leaf for key, child in children for leaf in _leaves(child, f"{name}[{key}]")]
    return [(name, module)]


def _altered(module: nn.Module) -> bool:
    hooks = module._forward_hooks or module._forward_pre_hooks
    return bool(hooks) or "forward" in vars(module)


def _computes_as(module: nn.Module, kind: type[nn.Module]) -> bool:
    """A subclass with a forward pass of its own may compute anything."""
    return isinstance(module, kind) and type(module).forward is kind.forward


def _is_identity(layer: nn.Module) -> bool:
    if isinstance(layer, nn.Flatten) and _computes_as(layer, nn.Flatten):
        return (layer.start_dim, layer.end_dim) == (1, -1)
    return any(_computes_as(layer, kind) for kind in (nn.Identity, nn.Dropout))


def _copy(name: str, layer: nn.Module) -> nn.Module:
    for kind in (nn.Tanh, nn.Sigmoid, nn.ReLU):
        if _computes_as(layer, kind):
            return kind()
    if not (isinstance(layer, nn.Linear) and _computes_as(layer, nn.Linear)):
        raise UnsupportedLayersError(
            f"{name} is {layer}, which bound propagation does not cover; supported are {SUPPORTED}"
        )
    copy = nn.Linear(layer.in_features, layer.out_features, device=layer.weight.device)
    copy = copy.double()
    copy.weight.copy_(layer.weight)
    bias = layer.bias
    copy.bias.copy_(torch.zeros_like(copy.bias) if bias is None else bias)
    for part in (copy.weight, copy.bias):
        if not torch.isfinite(part).all():
            raise ValueError(f"{name} holds NaN or infinite weights; audit another checkpoint")
    return copy
