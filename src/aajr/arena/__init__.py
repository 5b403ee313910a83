"""Attacks on any agent in any environment: suites, episodes, critics, records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aajr._lazy import lazy_names

if TYPE_CHECKING:
    from aajr.arena.agents.agent import Agent
    from aajr.arena.attacks.adversary_envs import adversary_env
    from aajr.arena.environments.gymnasium import GymnasiumEnvironment
    from aajr.arena.examination.examining import examine
    from aajr.arena.reports.report import Report

__all__ = ["Agent", "GymnasiumEnvironment", "Report", "adversary_env", "examine"]

if not TYPE_CHECKING:  # otherwise every attribute would seem to exist for the type checker
    __getattr__, __dir__ = lazy_names(__name__)
