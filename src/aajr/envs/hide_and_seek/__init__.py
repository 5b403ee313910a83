"""Hide-and-seek: a VMAS scenario of two teams, walls, and boxes that can be moved and locked."""

from aajr.envs.hide_and_seek.config import HideAndSeekConfig, Team
from aajr.envs.hide_and_seek.observation import observation_layout
from aajr.envs.hide_and_seek.outcome import hiders_success
from aajr.envs.hide_and_seek.parallel import parallel_env
from aajr.envs.hide_and_seek.scenario import HideAndSeek, make_torchrl_env

__all__ = [
    "HideAndSeek",
    "HideAndSeekConfig",
    "Team",
    "hiders_success",
    "make_torchrl_env",
    "observation_layout",
    "parallel_env",
]
