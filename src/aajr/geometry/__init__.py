"""Perturbation sets and output metrics."""

from aajr.geometry._around import Around, AroundBox
from aajr.geometry._ball import Ball
from aajr.geometry._finite import FiniteSet, assemble_choices
from aajr.geometry._lens import Lens
from aajr.geometry._metrics import Categorical, DiagonalGaussian, Euclidean, Metric
from aajr.geometry._quantised import Quantised
from aajr.geometry._replacement import Delayed, Dropped, Frozen
from aajr.geometry._sparse import Sparse, check_event
from aajr.geometry._threat import ThreatSet

__all__ = [
    "Around",
    "AroundBox",
    "Ball",
    "Categorical",
    "Delayed",
    "DiagonalGaussian",
    "Dropped",
    "Euclidean",
    "FiniteSet",
    "Frozen",
    "Lens",
    "Metric",
    "Quantised",
    "Sparse",
    "ThreatSet",
    "assemble_choices",
    "check_event",
]
