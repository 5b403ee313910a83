"""Normalisation layers in basic operations, because derivatives of fused kernels can be wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from aajr._modes import Policy
from aajr._modules import modules_behind


def decomposed(policy: Policy) -> Policy:
    """The policy with layer and instance normalisation computed from means and variances.

    Where forward mode and a backward pass are nested, the derivatives of the fused kernels hold
    mean and variance constant. Jv is then correct, but its gradient in the parameters is wrong
    (PyTorch issues 175754 and 196700).

    Raises:
        ValueError: a scripted module, whose layers cannot be replaced.
    """
    for module in modules_behind(policy):
        for part in module.modules():
            _check_scripted(part)

    def written_out(x: Tensor) -> Tensor:
        with _Decomposed():
            return policy(x)

    return written_out


class _Decomposed(TorchFunctionMode):
    """Replaces the functions in ``_WRITTEN_OUT`` while it is active."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return _WRITTEN_OUT.get(func, func)(*args, **(kwargs or {}))


def _layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *_: Any,
) -> Tensor:
    dims = tuple(range(-len(normalized_shape), 0))
    return _affine(_standardised(input, dims, eps), weight, bias)


def _instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not use_input_stats:
        return nn.functional.instance_norm(
            input, running_mean, running_var, weight, bias, False, momentum, eps
        )
    spatial = tuple(range(2, input.ndim))
    shape = (-1, *[1] * len(spatial))
    return _affine(
        _standardised(input, spatial, eps),
        None if weight is None else weight.reshape(shape),
        None if bias is None else bias.reshape(shape),
    )


def _standardised(value: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    centred = value - value.mean(dims, keepdim=True)
    return centred * (centred.square().mean(dims, keepdim=True) + eps).rsqrt()


def _affine(value: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    value = value if weight is None else value * weight
    return value if bias is None else value + bias


_WRITTEN_OUT: dict[Callable[..., Any], Callable[..., Any]] = {
    nn.functional.layer_norm: _layer_norm,
    torch.layer_norm: _layer_norm,
    nn.functional.instance_norm: _instance_norm,
}


def _check_scripted(module: nn.Module) -> None:
    if isinstance(module, torch.jit.ScriptModule) and "layer_norm" in str(module.inlined_graph):
        raise ValueError(
            "the policy is a scripted module with layer_norm, through which exact derivatives of "
            "PyTorch are wrong; use the eager module or estimator='forward_difference'"
        )
