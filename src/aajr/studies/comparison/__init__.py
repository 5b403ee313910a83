"""The main comparison: methods, weights and seeds, trained and attacked alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aajr._lazy import lazy_names

if TYPE_CHECKING:
    from aajr.studies.comparison._study import STUDY

__all__ = ["STUDY"]

if not TYPE_CHECKING:  # or else every attribute would seem to exist
    __getattr__, __dir__ = lazy_names(__name__)
