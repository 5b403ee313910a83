"""Checks of user input. Every message names the parameter, its value and the remedy."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from aajr._errors import ContractError
from aajr._settings import check_choice as check_choice
from aajr._settings import check_count as check_count
from aajr._settings import check_number as check_number
from aajr._settings import check_same_shape as check_same_shape


def check_batch(name: str, value: Tensor) -> None:
    """Raise ValueError unless ``value`` is a finite float tensor ``[batch, ...]`` with rows."""
    check_tensor(name, value)
    if not value.is_floating_point():
        raise ValueError(f"{name} has dtype {value.dtype}; convert it with .float()")
    if value.ndim < 2 or value.shape[0] == 0:
        raise ValueError(
            f"{name} has shape {tuple(value.shape)}; "
            "give [batch, ..., features] with at least one row"
        )
    check_finite(name, value)


def check_tensor(name: str, value: object) -> None:
    """Raise ValueError unless ``value`` is a tensor."""
    if isinstance(value, Mapping):
        raise ValueError(
            f"{name} is a dict with {sorted(map(str, value))}; give one torch.Tensor: concatenate "
            "the entries, or attack one entry with a policy that closes over the others"
        )
    if not isinstance(value, Tensor):
        raise ValueError(f"{name} is a {type(value).__name__}; give a torch.Tensor")


def check_differentiable(x: Tensor) -> None:
    """Raise ValueError inside ``torch.func`` transforms or inference mode, where autograd fails."""
    if torch.is_inference_mode_enabled() or x.is_inference():
        raise ValueError(
            "x comes from torch.inference_mode(), which keeps no gradients; leave that mode, use "
            "torch.no_grad() instead, or give x.clone() made outside of it"
        )
    if torch._C._functorch.peek_interpreter_stack() is not None:
        raise ValueError(
            "called inside a torch.func transform (grad, vmap, jvp, ...), which cannot see the "
            "inner search; call it outside, or use aajr.jax, whose functions can be transformed"
        )


def check_promise(kept: bool, broken: str) -> None:
    """Raise ContractError if a promise is broken; unlike ``assert``, also under ``python -O``."""
    if not kept:
        raise ContractError(broken)


def check_finite(name: str, value: Tensor) -> None:
    """Raise ValueError if ``value`` holds NaN or infinite values."""
    if not all_finite(value):
        bad = int((~torch.isfinite(value)).sum())
        raise ValueError(f"{name} holds {bad} NaN or infinite values; clean it first")


def all_finite(value: Tensor) -> bool:
    """Whether no entry is NaN or infinite; one pass where the sum is finite."""
    with torch.no_grad():
        return math.isfinite(value.sum().item()) or bool(torch.isfinite(value).all())


def check_generator(generator: torch.Generator, x: Tensor) -> None:
    """Raise ValueError unless ``generator`` is a generator on the device of ``x``."""
    if not isinstance(generator, torch.Generator):
        raise ValueError(
            f"generator is a {type(generator).__name__}; "
            "give torch.Generator(device=x.device).manual_seed(0)"
        )
    if generator.device.type != x.device.type:
        raise ValueError(
            f"generator lives on {generator.device} but x on {x.device}; "
            "make it with torch.Generator(device=x.device)"
        )


def check_mask(name: str, mask: Tensor | None, x: Tensor) -> None:
    """Raise ValueError unless ``mask`` is None or boolean, fits x or a sample, and allows some.

    A mask of x's own shape may be False everywhere: it comes from data, such as the features that
    an adversary moved.
    """
    if mask is None:
        return
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        kind = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(f"{name} is {kind}; give a boolean tensor, True for features to count")
    event = x.shape[1:]
    sizes = zip(reversed(mask.shape), reversed(event), strict=False)
    unfit = mask.ndim > len(event) and mask.shape != x.shape
    if unfit or any(size not in (1, other) for size, other in sizes):
        raise ValueError(
            f"{name} of shape {tuple(mask.shape)} does not fit x of shape {tuple(x.shape)}; "
            f"give a shape that broadcasts to one sample, {tuple(event)}"
        )
    if mask.shape != x.shape and not bool(mask.any()):
        raise ValueError(f"{name} is False everywhere; allow at least one feature")
