"""TorchRL's specs: spaces of observations and actions, and actions as TorchRL takes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor
from torchrl.data import (
    Binary,
    Bounded,
    Categorical,
    MultiCategorical,
    MultiOneHot,
    OneHot,
    TensorSpec,
    Unbounded,
)

from aajr.arena.spaces.heads import one_hot


def shown_space(spec: TensorSpec) -> spaces.Space[Any]:
    """The space of one entry of an observation.

    A one-hot vector is a choice, which Gymnasium holds as zeros and ones.

    Raises:
        ValueError: an entry that is no array of numbers.

    Example:
        >>> shown_space(OneHot(3)), shown_space(Categorical(3))
        (MultiBinary(3), Discrete(3))
    """
    if isinstance(spec, OneHot | Binary) or _mask(spec):
        return spaces.MultiBinary(max(1, spec.shape.numel()))
    if isinstance(spec, Categorical):
        return _choices(spec)
    return _array(spec)


def action_space(spec: TensorSpec) -> spaces.Space[Any]:
    """Gymnasium's space of the same actions.

    Raises:
        ValueError: actions that no head can choose.

    Example:
        >>> action_space(MultiOneHot([2, 3])), action_space(Binary(4))
        (MultiDiscrete([2 3]), MultiBinary(4))
    """
    if isinstance(spec, Binary):
        return spaces.MultiBinary(spec.shape.numel())
    if isinstance(spec, MultiOneHot):
        return spaces.MultiDiscrete(_sizes(spec))
    if isinstance(spec, OneHot):
        lead = spec.shape[:-1]
        return spaces.MultiDiscrete([spec.space.n] * lead.numel()) if lead else _one(spec)
    if isinstance(spec, Categorical):
        return _choices(spec)
    if not spec.dtype.is_floating_point:
        raise ValueError(
            f"actions of {type(spec).__name__} in {spec.dtype} have no head; give OneHot, "
            "Categorical, Binary, or numbers with a fraction"
        )
    return _array(spec)


def native(spec: TensorSpec, numbers: Tensor) -> Tensor:
    """Actions ``[..., actions]`` of a head as TorchRL takes them, ``[..., *spec.shape]``.

    Example:
        >>> native(MultiOneHot([2, 3]), torch.tensor([[1, 0]])).int()
        tensor([[0, 1, 1, 0, 0]], dtype=torch.int32)
    """
    if isinstance(spec, OneHot):
        count = numbers.shape[-1]
        several = isinstance(spec, MultiOneHot)
        numbers = one_hot(numbers.long(), _sizes(spec) if several else [spec.space.n] * count)
    return numbers.reshape(*numbers.shape[:-1], *spec.shape).to(spec.dtype)


def _array(spec: TensorSpec) -> spaces.Space[Any]:
    """The Box of an array of numbers."""
    kind = np.dtype(str(spec.dtype).removeprefix("torch."))
    shape = tuple(spec.shape)
    if isinstance(spec, Bounded):
        low, high = (end.expand(spec.shape).cpu().numpy() for end in (spec.low, spec.high))
        return spaces.Box(low, high, shape, kind)
    if isinstance(spec, Unbounded) and kind.kind == "f":
        return spaces.Box(-np.inf, np.inf, shape, kind)
    if isinstance(spec, Unbounded) and kind.kind in "iu":
        ends = np.iinfo(kind)
        return spaces.Box(ends.min, ends.max, shape, kind)
    raise ValueError(
        f"entries of {type(spec).__name__} are not read here; choose entries of OneHot, "
        "Categorical, Binary, Bounded or Unbounded"
    )


def _choices(spec: TensorSpec) -> spaces.Space[Any]:
    """The space of one or several choices, each a number."""
    if isinstance(spec, MultiCategorical):
        return spaces.MultiDiscrete(_sizes(spec))
    count = spec.shape.numel()
    return spaces.MultiDiscrete([spec.space.n] * count) if spec.shape else _one(spec)


def _one(spec: TensorSpec) -> spaces.Space[Any]:
    return spaces.Discrete(int(spec.space.n))


def _mask(spec: TensorSpec) -> bool:
    """Whether an entry holds truth values, as masks of actions do."""
    return isinstance(spec, Categorical) and spec.dtype is torch.bool


def _sizes(spec: Any) -> list[int]:
    return [int(size) for size in np.ravel([box.n for box in spec.space])]
