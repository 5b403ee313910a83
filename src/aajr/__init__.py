"""Adversarially-aligned Jacobian regularisation."""

from aajr.adversaries import (
    Adversary,
    Critic,
    Divergence,
    MaskedGradientWarning,
    ProjectedGradientAscent,
    Surrogate,
    Targeted,
    UniformNoise,
)
from aajr.geometry import Ball, Categorical, DiagonalGaussian, Euclidean, Metric
from aajr.jacobian import (
    directional_curvature,
    directional_derivative,
    frobenius_squared,
    spectral_squared,
)
from aajr.minimax import Minimax, RobustLoss, diagnose
from aajr.penalties import (
    AAJR,
    ERNIE,
    Frobenius,
    InputGradient,
    Penalty,
    RandomDirection,
    Spectral,
    StateAdversarial,
)
from aajr.schedules import Cosine, DualAscent, Linear, PerformanceCurriculum
from aajr.trajectory import Objective, Reference, Trajectory

__version__ = "0.1.0"

__all__ = [
    "AAJR",
    "ERNIE",
    "Adversary",
    "Ball",
    "Categorical",
    "Cosine",
    "Critic",
    "DiagonalGaussian",
    "Divergence",
    "DualAscent",
    "Euclidean",
    "Frobenius",
    "InputGradient",
    "Linear",
    "MaskedGradientWarning",
    "Metric",
    "Minimax",
    "Objective",
    "Penalty",
    "PerformanceCurriculum",
    "ProjectedGradientAscent",
    "RandomDirection",
    "Reference",
    "RobustLoss",
    "Spectral",
    "StateAdversarial",
    "Surrogate",
    "Targeted",
    "Trajectory",
    "UniformNoise",
    "diagnose",
    "directional_curvature",
    "directional_derivative",
    "frobenius_squared",
    "spectral_squared",
]
