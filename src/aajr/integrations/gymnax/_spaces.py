"""Spaces of gymnax and JaxMARL as Gymnasium's."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces


def gymnasium_space(space: Any) -> spaces.Space[Any]:
    """The space of Gymnasium with the same members.

    Raises:
        ValueError: a space that Gymnasium does not have.

    Example:
        >>> from gymnax.environments.spaces import Discrete
        >>> gymnasium_space(Discrete(3))
        Discrete(3)
    """
    if hasattr(space, "low"):
        kind = np.dtype(space.dtype)
        low, high = (np.asarray(end, kind) for end in (space.low, space.high))
        shape = tuple(space.shape)
        return spaces.Box(np.broadcast_to(low, shape), np.broadcast_to(high, shape), dtype=kind)
    if hasattr(space, "num_categories"):
        return spaces.MultiDiscrete(np.asarray(space.num_categories))
    if hasattr(space, "n"):
        return spaces.Discrete(int(space.n))
    members = getattr(space, "spaces", None)
    if isinstance(members, dict):
        return spaces.Dict({name: gymnasium_space(one) for name, one in members.items()})
    if members is not None:
        return spaces.Tuple([gymnasium_space(one) for one in members])
    raise ValueError(f"{space} is no space that Gymnasium has; give a Box, Discrete, Dict or Tuple")
