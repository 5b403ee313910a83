"""Studies: experiments that end in tables and plots, one subpackage for each question.

A study's package holds ``STUDY``, a :class:`Study`, which ``aajr study NAME`` runs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aajr._lazy import lazy_names

if TYPE_CHECKING:
    from aajr.studies._ray_workers import RayWorkers
    from aajr.studies._store import Cell, Store
    from aajr.studies._study import Study, tuned
    from aajr.studies._workers import InProcess, Pool, Workers

__all__ = [
    "Cell",
    "InProcess",
    "Pool",
    "RayWorkers",
    "Store",
    "Study",
    "Workers",
    "find_study",
    "tuned",
]

if not TYPE_CHECKING:  # type checkers would otherwise accept any attribute
    __getattr__, __dir__ = lazy_names(__name__)


def find_study(name: str) -> Study[Any, Any]:
    """Return the study of a subpackage, such as ``theory``."""
    study: Study[Any, Any] = import_module(f"{__name__}.{name.replace('-', '_')}").STUDY
    return study
