"""Spaces of gymnax, JaxMARL and the older Gym as Gymnasium's."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces


def gymnasium_space(space: Any) -> spaces.Space[Any]:
    """The space of Gymnasium with the same members.

    Raises:
        ValueError: a space that Gymnasium does not have.

    Example:
        >>> gymnasium_space(spaces.Discrete(3, start=1))
        Discrete(3, start=1)
    """
    if isinstance(space, spaces.Space):
        return space
    if hasattr(space, "low"):
        kind = np.dtype(space.dtype)
        low, high = (np.asarray(end, kind) for end in (space.low, space.high))
        shape = tuple(space.shape)
        return spaces.Box(np.broadcast_to(low, shape), np.broadcast_to(high, shape), dtype=kind)
    for choices in ("num_categories", "nvec"):
        if hasattr(space, choices):
            return spaces.MultiDiscrete(np.asarray(getattr(space, choices)))
    if hasattr(space, "n"):
        return spaces.Discrete(int(space.n))
    members = getattr(space, "spaces", None)
    if isinstance(members, dict):
        return spaces.Dict({name: gymnasium_space(one) for name, one in members.items()})
    if members is not None:
        return spaces.Tuple([gymnasium_space(one) for one in members])
    raise ValueError(f"{space} is no space that Gymnasium has; give a Box, Discrete, Dict or Tuple")
