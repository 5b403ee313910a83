"""Attacks on any agent in any environment: suites, episodes, critics, records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aajr._lazy import lazy_names

if TYPE_CHECKING:
    from aajr.arena.agents import Agent

__all__ = ["Agent"]

if not TYPE_CHECKING:  # otherwise every attribute would seem to exist for the type checker
    __getattr__, __dir__ = lazy_names(__name__)
