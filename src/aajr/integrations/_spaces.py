"""Gymnasium's spaces in pickles, read as plain data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from gymnasium import spaces

from aajr.integrations._inert import Inert, array_of


def space_of(value: Any) -> spaces.Space:
    """The space that a pickle describes, of Gymnasium or of the older Gym.

    Raises:
        ValueError: anything else.
    """
    if isinstance(value, spaces.Space):
        return value
    name = value.name.rpartition(".")[2] if isinstance(value, Inert) else type(value).__name__
    if not isinstance(value, Inert) or name not in _SPACES:
        raise ValueError(f"the space is a {name}; give one of {', '.join(_SPACES)}")
    try:
        return _SPACES[name](value.state)
    except (AttributeError, KeyError) as error:
        raise ValueError(f"the {name} is damaged ({error})") from error


def _box(state: dict[str, Any]) -> spaces.Box:
    low, high = (array_of(state[end]) for end in ("low", "high"))
    return spaces.Box(low.copy(), high.copy(), dtype=low.dtype)


def _whole(value: Any) -> int:
    return int(array_of(value))


_SPACES: dict[str, Callable[[dict[str, Any]], spaces.Space]] = {
    "Box": _box,
    "Discrete": lambda state: spaces.Discrete(
        _whole(state["n"]), start=_whole(state.get("start", 0))
    ),
    "MultiDiscrete": lambda state: spaces.MultiDiscrete(array_of(state["nvec"]).tolist()),
    "MultiBinary": lambda state: spaces.MultiBinary(array_of(state["n"]).tolist()),
    "Dict": lambda state: spaces.Dict(
        {name: space_of(part) for name, part in _entries(state["spaces"])}
    ),
}


def _entries(value: Any) -> Iterable[tuple[str, Any]]:
    return (value.state if isinstance(value, Inert) else value).items()
