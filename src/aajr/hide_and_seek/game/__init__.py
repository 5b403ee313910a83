"""Hide-and-seek: a VMAS scenario of two teams, walls, and boxes that can be moved and locked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aajr._lazy import lazy_names

if TYPE_CHECKING:
    from aajr.hide_and_seek.game.config import RADIO_GAME, HideAndSeekConfig, Team
    from aajr.hide_and_seek.game.observation import observation_layout
    from aajr.hide_and_seek.game.outcome import hidden_share, hiders_success
    from aajr.hide_and_seek.game.pettingzoo_env import parallel_env
    from aajr.hide_and_seek.game.radio import Radio
    from aajr.hide_and_seek.game.scenario import HideAndSeek
    from aajr.hide_and_seek.game.torchrl_env import make_torchrl_env

__all__ = [
    "RADIO_GAME",
    "HideAndSeek",
    "HideAndSeekConfig",
    "Radio",
    "Team",
    "hidden_share",
    "hiders_success",
    "make_torchrl_env",
    "observation_layout",
    "parallel_env",
]

if not TYPE_CHECKING:  # type checkers would otherwise accept any attribute
    __getattr__, __dir__ = lazy_names(__name__)
