"""Directional derivatives and norms of a policy's Jacobian."""

from aajr.jacobian._curvature import directional_curvature
from aajr.jacobian._directional import ESTIMATORS, Estimator, directional_derivative
from aajr.jacobian._norms import frobenius_squared, spectral_squared

__all__ = [
    "ESTIMATORS",
    "Estimator",
    "directional_curvature",
    "directional_derivative",
    "frobenius_squared",
    "spectral_squared",
]
