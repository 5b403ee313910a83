"""Certification: what holds for every perturbation of a ball, next to what was only measured."""

from aajr.certification._attacks import AuditBudget
from aajr.certification._audit import STAGES, Audit, audit
from aajr.certification._bounds import OutputBounds, certified_bounds
from aajr.certification._findings import EpsilonUnitWarning
from aajr.certification._lipschitz import certified_lipschitz
from aajr.certification._network import UnsupportedLayersError
from aajr.certification._page import write_audit
from aajr.certification._quantities import Finding, Quantity, Share
from aajr.certification._radius import certified_radius
from aajr.certification._searches import BlackBoxSearch, RandomDraws

__all__ = [
    "STAGES",
    "Audit",
    "AuditBudget",
    "BlackBoxSearch",
    "EpsilonUnitWarning",
    "Finding",
    "OutputBounds",
    "Quantity",
    "RandomDraws",
    "Share",
    "UnsupportedLayersError",
    "audit",
    "certified_bounds",
    "certified_lipschitz",
    "certified_radius",
    "write_audit",
]
