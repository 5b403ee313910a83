"""Perturbation sets and output metrics."""

from aajr.geometry._ball import Ball
from aajr.geometry._finite import FiniteSet
from aajr.geometry._metrics import Categorical, DiagonalGaussian, Euclidean, Metric
from aajr.geometry._quantised import Quantised
from aajr.geometry._replacement import Delayed, Dropped, Frozen
from aajr.geometry._sparse import Sparse
from aajr.geometry._threat import ThreatSet

__all__ = [
    "Ball",
    "Categorical",
    "Delayed",
    "DiagonalGaussian",
    "Dropped",
    "Euclidean",
    "FiniteSet",
    "Frozen",
    "Metric",
    "Quantised",
    "Sparse",
    "ThreatSet",
]
