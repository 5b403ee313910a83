"""Perturbation sets and output metrics."""

from aajr.geometry._ball import Ball
from aajr.geometry._metrics import Categorical, DiagonalGaussian, Euclidean, Metric

__all__ = ["Ball", "Categorical", "DiagonalGaussian", "Euclidean", "Metric"]
