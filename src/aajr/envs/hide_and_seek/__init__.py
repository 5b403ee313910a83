"""Hide-and-seek: a VMAS scenario of two teams, walls, and boxes that can be moved and locked."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from aajr.envs.hide_and_seek.config import HideAndSeekConfig, Team
from aajr.envs.hide_and_seek.observation import observation_layout
from aajr.envs.hide_and_seek.outcome import hidden_share, hiders_success

if TYPE_CHECKING:
    from aajr.envs.hide_and_seek.parallel import parallel_env
    from aajr.envs.hide_and_seek.scenario import HideAndSeek
    from aajr.envs.hide_and_seek.torchrl_env import make_torchrl_env

__all__ = [
    "HideAndSeek",
    "HideAndSeekConfig",
    "Team",
    "hidden_share",
    "hiders_success",
    "make_torchrl_env",
    "observation_layout",
    "parallel_env",
]

# loaded on first use: each needs a host library that is an extra
_HOSTED = {
    "HideAndSeek": "scenario",
    "make_torchrl_env": "torchrl_env",
    "parallel_env": "parallel",
}


def __getattr__(name: str) -> Any:
    if name not in _HOSTED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOSTED[name]}"), name)
