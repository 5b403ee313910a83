"""Certification: what holds for every perturbation of a ball, next to what was only measured."""

from aajr.certification._bounds import OutputBounds, certified_bounds
from aajr.certification._lipschitz import certified_lipschitz
from aajr.certification._network import UnsupportedLayersError
from aajr.certification._radius import certified_radius

__all__ = [
    "OutputBounds",
    "UnsupportedLayersError",
    "certified_bounds",
    "certified_lipschitz",
    "certified_radius",
]
