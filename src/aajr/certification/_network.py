"""Networks that bound propagation covers, as plain float64 copies."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeGuard, TypeVar

import torch
from torch import Tensor, nn

from aajr._layers import Clamp, Layered
from aajr._modes import evaluating
from aajr.certification._linear import FlatConv, Rescale, SmoothSoftplus

Shape = tuple[int, ...] | None
Layer = TypeVar("Layer", bound=nn.Module)
_PLAIN = (nn.Tanh, nn.Sigmoid, nn.ReLU, nn.SiLU, nn.Mish)
SUPPORTED = (
    "Linear, Conv1d and Conv2d padded with zeros, LayerNorm and RMSNorm over a whole sample, Tanh, "
    "Sigmoid, ReLU, LeakyReLU, ELU, SiLU, Softplus with threshold >= 20, exact GELU, Mish, "
    "Identity, Flatten(1), Dropout and nested Sequential"
)


class UnsupportedLayersError(ValueError):
    """Nothing can be certified, because bound propagation does not cover the policy."""


@dataclass(frozen=True, eq=False)
class Network:
    """A policy as a chain of layers on flat rows, ``[batch, features]`` to outputs.

    Attributes:
        layers: frozen float64 copies of ``Linear``, :class:`FlatConv`, :class:`Rescale` and
            activations of one feature.
        flattens: whether an input of the policy has more than one dimension.
    """

    layers: nn.Sequential
    flattens: bool

    def rows(self, x: Tensor) -> Tensor:
        """x as ``[batch, features]`` in float64."""
        if x.ndim > 2 and not self.flattens:
            raise UnsupportedLayersError(_rows_of(f"x has shape {tuple(x.shape)}"))
        rows = x.detach().double().flatten(1)
        sized = (layer for layer in self.layers if hasattr(layer, "in_features"))
        takes = getattr(next(sized, None), "in_features", rows.shape[1])
        if takes != rows.shape[1]:
            raise ValueError(
                f"x has {rows.shape[1]} features but the policy takes {takes}; "
                "give [batch, features]"
            )
        return rows

    def __call__(self, x: Tensor) -> Tensor:
        """π(x) in float64."""
        output: Tensor = self.layers(x.flatten(1))
        return output


def _rows_of(found: str) -> str:
    return (
        f"{found}, and the first layer is applied to every row of a sample; hand in the rows, "
        "x.flatten(0, -2), or begin with nn.Flatten(1)"
    )


@torch.no_grad()
def read_network(policy: Callable[[Tensor], Tensor], x: Tensor) -> Network:
    """:func:`supported_network` for inputs like x, compared with the policy's own output at x.

    Raises:
        UnsupportedLayersError: also if the ``as_sequential`` of the policy computes something else.
    """
    network = supported_network(policy, tuple(x.shape[1:]))
    if isinstance(policy, Layered) and isinstance(policy, nn.Module):
        rows = network.rows(x)
        with evaluating(policy):
            own = policy(x)
        gap = float((network(rows) - own.double()).abs().max())
        if not gap <= 1e3 * torch.finfo(own.dtype).eps * (1 + float(own.abs().max())):
            raise UnsupportedLayersError(
                f"policy ({type(policy).__name__}) and its as_sequential() differ by {gap:g}; the "
                "layers are not what it computes"
            )
    return network


@torch.no_grad()
def supported_network(policy: Callable[[Tensor], Tensor], shape: Shape = None) -> Network:
    """The network of the policy in evaluation mode, with copies of its weights.

    Args:
        policy: nested ``Sequential`` of the supported layers, or a module with a method
            ``as_sequential`` that returns one. Parametrised layers (``orthogonal``,
            ``spectral_norm``) are covered with the weights that they compute.
        shape: shape of one input; needed for convolutions.

    Returns:
        The network; the policy itself is not changed.

    Raises:
        UnsupportedLayersError: another layer, a layer with hooks or with its own forward pass.
        ValueError: NaN or infinite weights.

    Example:
        >>> policy = nn.Sequential(nn.Flatten(), nn.Linear(2, 3), nn.Dropout())
        >>> supported_network(policy).layers
        Sequential(
          (0): Linear(in_features=2, out_features=3, bias=True)
        )
    """
    with evaluating(policy):
        leaves = _leaves(policy, "policy")
        flattens = bool(leaves) and isinstance(leaves[0][1], nn.Flatten | nn.Conv1d | nn.Conv2d)
        kept: list[nn.Module] = []
        for name, leaf in leaves:
            found, shape = _read(name, leaf, shape)
            kept += found
    if not kept:
        raise UnsupportedLayersError("the policy has no layer that computes; there is no bound")
    return Network(nn.Sequential(*kept).requires_grad_(False).eval(), flattens)


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
    if isinstance(module, Layered) and _as_sequential_is_current(module):
        try:
            return _leaves(module.as_sequential(), name)
        except ValueError as error:
            raise UnsupportedLayersError(str(error)) from error
    if isinstance(module, nn.Sequential) and _computes_as(module, nn.Sequential):
        children = module.named_children()
        return [leaf for key, child in children for leaf in _leaves(child, f"{name}[{key}]")]
    return [(name, module)]


def _as_sequential_is_current(module: Layered) -> bool:
    """Whether ``as_sequential`` belongs to this ``forward``; a subclass may replace one alone."""
    kinds = type(module).__mro__
    places = [
        next(place for place, kind in enumerate(kinds) if name in vars(kind))
        for name in ("as_sequential", "forward")
    ]
    return places[0] <= places[1]


def _altered(module: nn.Module) -> bool:
    hooks = module._forward_hooks or module._forward_pre_hooks
    return bool(hooks) or "forward" in vars(module)


def _computes_as(module: nn.Module, kind: type[Layer]) -> TypeGuard[Layer]:
    """Whether the module has the forward pass of ``kind``; a subclass may have another one."""
    return isinstance(module, kind) and type(module).forward is kind.forward


def _read(name: str, layer: nn.Module, shape: Shape) -> tuple[list[nn.Module], Shape]:
    """The equivalent layers on flat rows, and the shape of their output."""
    if any(_computes_as(layer, kind) for kind in (nn.Identity, nn.Dropout)):
        return [], shape
    if _computes_as(layer, nn.Flatten) and (layer.start_dim, layer.end_dim) == (1, -1):
        return [], None if shape is None else (math.prod(shape),)
    if _computes_as(layer, nn.Linear):
        if shape is not None and len(shape) > 1:
            raise UnsupportedLayersError(_rows_of(f"{name} meets samples of shape {shape}"))
        copy = nn.Linear(layer.in_features, layer.out_features, device=layer.weight.device)
        return [_filled(name, copy, layer.weight, layer.bias)], (layer.out_features,)
    if _computes_as(layer, nn.Conv1d) or _computes_as(layer, nn.Conv2d):
        conv = _convolution(name, layer, shape)
        return [conv], conv.out_shape
    if _computes_as(layer, nn.LayerNorm) or _computes_as(layer, nn.RMSNorm):
        return _normalisation(name, layer, shape), shape
    return [_activation(name, layer)], shape


def _filled(name: str, copy: nn.Linear, weight: Tensor, bias: Tensor | None) -> nn.Linear:
    copy = copy.double()
    copy.weight.copy_(weight)
    copy.bias.copy_(torch.zeros_like(copy.bias) if bias is None else bias)
    _check_finite(name, copy)
    return copy


def _check_finite(name: str, layer: nn.Module) -> None:
    if not all(bool(part.isfinite().all()) for part in layer.parameters()):
        raise ValueError(f"{name} holds NaN or infinite weights; audit another checkpoint")


def _convolution(name: str, layer: nn.Conv1d | nn.Conv2d, shape: Shape) -> FlatConv:
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise UnsupportedLayersError(
            f"{name} is {layer}, whose padding bound propagation does not cover; give "
            "numbers as padding and padding_mode='zeros'"
        )
    if shape is None:
        raise UnsupportedLayersError(
            f"{name} is a convolution, whose bounds need the size of the image, which is not known "
            "here; audit and certified_bounds take it from the states"
        )
    _check_finite(name, layer)
    arguments = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups)
    bias = layer.bias is not None
    kind = nn.Conv2d if isinstance(layer, nn.Conv2d) else nn.Conv1d
    copy = kind(layer.in_channels, layer.out_channels, *arguments, bias=bias)  # type: ignore[arg-type]
    copy = copy.to(layer.weight.device).double()
    copy.weight.copy_(layer.weight)  # of a parametrised layer, what it computes with
    if copy.bias is not None and layer.bias is not None:
        copy.bias.copy_(layer.bias)
    return FlatConv(copy, shape)


def _normalisation(name: str, layer: nn.LayerNorm | nn.RMSNorm, shape: Shape) -> list[nn.Module]:
    normalised = tuple(layer.normalized_shape)
    if shape is not None and shape != normalised:
        raise UnsupportedLayersError(
            f"{name} normalises the last dimensions {normalised} of a sample of shape {shape}; "
            "bounds cover a normalisation over the whole sample"
        )
    count = math.prod(normalised)
    epsilon = layer.eps
    if epsilon is None:
        like = torch.float32 if layer.weight is None else layer.weight.dtype
        epsilon = torch.finfo(like).eps
    if not epsilon > 0:
        raise UnsupportedLayersError(f"{name} has eps={epsilon}; its slope has no bound, use > 0")
    bias = layer.bias if isinstance(layer, nn.LayerNorm) else None
    device = None if layer.weight is None else layer.weight.device
    square = nn.Linear(count, count, device=device)
    one = torch.eye(count, dtype=torch.float64, device=device)
    parts: list[nn.Module] = [Rescale(count, float(epsilon))]
    if isinstance(layer, nn.LayerNorm):
        parts.insert(0, _filled(name, square, one - 1 / count, None))
    if layer.weight is not None:
        gain = one * layer.weight.double().flatten()
        shift = None if bias is None else bias.flatten()
        parts.append(_filled(name, nn.Linear(count, count, device=device), gain, shift))
    return parts


def _activation(name: str, layer: nn.Module) -> nn.Module:
    for kind in _PLAIN:
        if _computes_as(layer, kind):
            return kind()
    if _computes_as(layer, nn.LeakyReLU):
        return nn.LeakyReLU(layer.negative_slope)
    if _computes_as(layer, nn.ELU):
        return nn.ELU(layer.alpha)
    if _computes_as(layer, nn.GELU) and layer.approximate == "none":
        return nn.GELU()
    if _computes_as(layer, Clamp):
        return Clamp(layer.low.double(), layer.high.double())
    if _computes_as(layer, nn.Softplus) and layer.beta > 0 and layer.threshold >= 20:
        return SmoothSoftplus(layer.beta, layer.threshold)
    raise UnsupportedLayersError(
        f"{name} is {layer}, which bound propagation does not cover; supported are {SUPPORTED}"
    )
