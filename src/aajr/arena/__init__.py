"""Attacks on any agent in any environment: suites, episodes, critics, records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aajr._lazy import lazy_names

if TYPE_CHECKING:
    from aajr.arena.adversary_envs import adversary_env
    from aajr.arena.agents import Agent
    from aajr.arena.examining import examine
    from aajr.arena.gymnasium import GymnasiumEnvironment
    from aajr.arena.reports import Report

__all__ = ["Agent", "GymnasiumEnvironment", "Report", "adversary_env", "examine"]

if not TYPE_CHECKING:  # otherwise every attribute would seem to exist for the type checker
    __getattr__, __dir__ = lazy_names(__name__)
