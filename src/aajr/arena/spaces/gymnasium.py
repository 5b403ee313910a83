"""Gymnasium's spaces: features of observations, and heads of actions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from aajr.arena.spaces.features import Entry, Features
from aajr.arena.spaces.heads import CategoricalHead, GaussianHead, Head

try:
    from gymnasium import spaces as spaces
except ImportError as error:
    raise ImportError(
        "aajr.arena.spaces.gymnasium needs Gymnasium: pip install 'aajr[sb3]'"
    ) from error


def features_of(space: spaces.Space[Any]) -> Features:
    """The features of a space of observations, in the order of :func:`flattened`.

    A Dict's entries have the names of its keys, in the order of the space, and those of a Tuple are
    ``part0``, ``part1`` and so on; inside one another, dots join the names. An observation that is
    a single array is named ``observation``. An entry ``action_mask`` says which actions are
    allowed, as in PettingZoo; it counts as a choice, since an agent knows it from the rules.

    Raises:
        ValueError: a space whose members differ in size, such as Text or Graph.

    Example:
        >>> space = spaces.Dict({"at": spaces.Box(-1, 1, (2,)), "key": spaces.Discrete(2)})
        >>> features_of(space).names
        ('at[0]', 'at[1]', 'key=0', 'key=1')
    """
    return Features(tuple(leaf.entry for leaf in _leaves(space)))


def flattened(space: spaces.Space[Any], observations: Sequence[Any]) -> np.ndarray:
    """Observations of a space as rows of numbers, float32 ``[rows, features]``.

    The numbers are those of Gymnasium's ``flatten``: choices are one-hot.

    Example:
        >>> flattened(spaces.Tuple((spaces.Discrete(2), spaces.Box(0, 9, (1,)))), [(1, [7.0])])
        array([[0., 1., 7.]], dtype=float32)
    """
    parts = [leaf.rows([leaf.found(one) for one in observations]) for leaf in _leaves(space)]
    return np.concatenate(parts, 1).astype(np.float32)


@dataclass(frozen=True)
class _Leaf:
    """A space inside others that holds an array or a choice."""

    entry: Entry
    path: tuple[Any, ...]
    space: spaces.Space[Any]

    def found(self, observation: Any) -> Any:
        for key in self.path:
            observation = observation[key]
        return observation

    def rows(self, values: Sequence[Any]) -> np.ndarray:
        """Its part of flattened observations, ``[rows, features]``."""
        if isinstance(self.space, spaces.Discrete | spaces.MultiDiscrete):
            return np.stack([spaces.flatten(self.space, value) for value in values])
        return np.stack([np.asarray(value) for value in values]).reshape(len(values), -1)


def _leaves(
    space: spaces.Space[Any], name: str = "", path: tuple[Any, ...] = ()
) -> Iterator[_Leaf]:
    """All arrays and choices of a space, in its order."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        members = space.items() if isinstance(space, spaces.Dict) else enumerate(space)
        for number, (key, member) in enumerate(members):
            own = str(key) if isinstance(space, spaces.Dict) else f"part{key}"
            for leaf in _leaves(member, f"{name}.{own}" if name else own, (*path, key)):
                yield leaf if path else replace(leaf, entry=replace(leaf.entry, group=number))
        return
    name = name or "observation"
    if isinstance(space, spaces.Box | spaces.MultiBinary):
        binary = isinstance(space, spaces.MultiBinary) or path[-1:] == ("action_mask",)
        shape = (int(np.prod(space.shape)),) if binary else tuple(map(int, space.shape))
        yield _Leaf(Entry(name, shape, binary), path, space)
    elif isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        yield _Leaf(Entry(name, (int(spaces.flatdim(space)),), one_hot=True), path, space)
    else:
        raise ValueError(
            f"observations of {space} ({name}) have no fixed number of features; wrap the "
            "environment to show arrays, for instance by gymnasium.wrappers.TransformObservation"
        )


def head_of(space: spaces.Space[Any], continuous: type[GaussianHead] = GaussianHead) -> Head:
    """The head of a policy for an action space.

    Args:
        space: Box, Discrete, MultiDiscrete, MultiBinary, or a Dict or Tuple of discrete spaces,
            whose logits are concatenated.
        continuous: class of the head for a Box.

    Raises:
        ValueError: another space.

    Example:
        >>> head_of(spaces.Dict({"go": spaces.Discrete(3), "say": spaces.MultiBinary(2)}))
        CategoricalHead(sizes=(3, 2, 2))
    """
    if isinstance(space, spaces.Box):
        return continuous(*(torch.as_tensor(end).flatten() for end in (space.low, space.high)))
    return CategoricalHead(tuple(_sizes(space)))


def native_action(space: spaces.Space[Any], numbers: np.ndarray) -> Any:
    """Convert numbers ``[actions]`` to a member of the action space.

    Example:
        >>> space = spaces.Dict({"go": spaces.Discrete(3, start=1), "say": spaces.MultiBinary(2)})
        >>> native_action(space, np.array([2, 0, 1]))
        {'go': 3, 'say': array([0, 1], dtype=int8)}
    """
    if isinstance(space, spaces.Dict):
        return dict(zip(space, _parts(space.values(), numbers), strict=True))
    if isinstance(space, spaces.Tuple):
        return tuple(_parts(space, numbers))
    if isinstance(space, spaces.Discrete):
        return int(numbers[0] + space.start)
    start = space.start if isinstance(space, spaces.MultiDiscrete) else 0
    return (numbers.reshape(space.shape) + start).astype(space.dtype)


def _parts(members: Any, numbers: np.ndarray) -> list[Any]:
    found, first = [], 0
    for space in members:
        count = len(_sizes(space))
        found.append(native_action(space, numbers[first : first + count]))
        first += count
    return found


def _sizes(space: spaces.Space[Any]) -> list[int]:
    """Numbers of choices of a discrete space."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        members = space.values() if isinstance(space, spaces.Dict) else space
        return [size for member in members for size in _sizes(member)]
    if isinstance(space, spaces.Discrete):
        return [int(space.n)]
    if isinstance(space, spaces.MultiDiscrete):
        return [int(size) for size in space.nvec.flatten()]
    if isinstance(space, spaces.MultiBinary):
        return [2] * int(np.prod(space.shape))
    raise ValueError(f"actions of {space} have no head; give discrete ones, or a Box by itself")
