"""Certification: bounds for every perturbation of a ball, next to measured numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aajr._lazy import lazy_names

if TYPE_CHECKING:
    from aajr.certification._audit import STAGES, Audit, audit
    from aajr.certification._bounds import OutputBounds, certified_bounds
    from aajr.certification._budget import AuditBudget
    from aajr.certification._findings import EpsilonUnitWarning
    from aajr.certification._lipschitz import certified_lipschitz
    from aajr.certification._network import UnsupportedLayersError
    from aajr.certification._page import comparison_rows, write_audit
    from aajr.certification._quantities import Finding, Quantity, Share
    from aajr.certification._radius import certified_radius
    from aajr.certification._searches import BlackBoxSearch

__all__ = [
    "STAGES",
    "Audit",
    "AuditBudget",
    "BlackBoxSearch",
    "EpsilonUnitWarning",
    "Finding",
    "OutputBounds",
    "Quantity",
    "Share",
    "UnsupportedLayersError",
    "audit",
    "certified_bounds",
    "certified_lipschitz",
    "certified_radius",
    "comparison_rows",
    "write_audit",
]

if not TYPE_CHECKING:  # otherwise every attribute would seem to exist for the type checker
    __getattr__, __dir__ = lazy_names(__name__)
