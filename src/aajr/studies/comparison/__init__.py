"""The main comparison: all methods, weights and seeds, trained and attacked in the same way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aajr._lazy import lazy_names

if TYPE_CHECKING:
    from aajr.studies.comparison._study import STUDY

__all__ = ["STUDY"]

if not TYPE_CHECKING:  # type checkers would otherwise accept any attribute
    __getattr__, __dir__ = lazy_names(__name__)
