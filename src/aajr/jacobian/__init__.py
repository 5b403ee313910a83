"""Directional derivatives and norms of a policy's Jacobian."""

from aajr.jacobian._curvature import directional_curvature
from aajr.jacobian._directional import (
    ESTIMATORS,
    Estimator,
    directional_derivative,
    input_gradient,
)
from aajr.jacobian._norms import frobenius_squared, spectral_squared
from aajr.jacobian._steps import full_precision

__all__ = [
    "ESTIMATORS",
    "Estimator",
    "directional_curvature",
    "directional_derivative",
    "frobenius_squared",
    "full_precision",
    "input_gradient",
    "spectral_squared",
]
