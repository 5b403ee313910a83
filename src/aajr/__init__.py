"""Adversarially-aligned Jacobian regularisation.

A name loads its own module when first used: ``import aajr.jax`` needs no torch, and ``aajr.Ball``
loads no adversary. A new name goes into two lists: imports for the type checker and ``__all__``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aajr._errors import ContractError, ResolutionWarning
from aajr._lazy import lazy_names

if TYPE_CHECKING:
    from aajr.adversaries import (
        CMAES,
        DLR,
        FAB,
        NES,
        SPSA,
        Adversary,
        AttackOn,
        AutoAttackResult,
        AutoPGD,
        Critic,
        CrossEntropy,
        Divergence,
        Imitation,
        LeastValue,
        Margin,
        MaskedGradients,
        MaskedGradientWarning,
        Mixture,
        ProjectedGradientAscent,
        RandomSearch,
        SmoothedAscent,
        Square,
        Surrogate,
        Targeted,
        Transfer,
        UniformNoise,
        VertexSearch,
        auto_attack,
        fgsm,
        imitate,
        masked_gradients,
        objective_scale,
    )
    from aajr.diagnostics import diagnose
    from aajr.geometry import Ball, Categorical, DiagonalGaussian, Euclidean, Metric
    from aajr.jacobian import (
        directional_curvature,
        directional_derivative,
        frobenius_squared,
        spectral_squared,
    )
    from aajr.minimax import Minimax, RobustLoss
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
    "CMAES",
    "DLR",
    "ERNIE",
    "FAB",
    "NES",
    "SPSA",
    "Adversary",
    "AttackOn",
    "AutoAttackResult",
    "AutoPGD",
    "Ball",
    "Categorical",
    "ContractError",
    "Cosine",
    "Critic",
    "CrossEntropy",
    "DiagonalGaussian",
    "Divergence",
    "DualAscent",
    "Euclidean",
    "Frobenius",
    "Imitation",
    "InputGradient",
    "LeastValue",
    "Linear",
    "Margin",
    "MaskedGradientWarning",
    "MaskedGradients",
    "Metric",
    "Minimax",
    "Mixture",
    "Objective",
    "Penalty",
    "PerformanceCurriculum",
    "ProjectedGradientAscent",
    "RandomDirection",
    "RandomSearch",
    "Reference",
    "ResolutionWarning",
    "RobustLoss",
    "SmoothedAscent",
    "Spectral",
    "Square",
    "StateAdversarial",
    "Surrogate",
    "Targeted",
    "Trajectory",
    "Transfer",
    "UniformNoise",
    "VertexSearch",
    "auto_attack",
    "diagnose",
    "directional_curvature",
    "directional_derivative",
    "fgsm",
    "frobenius_squared",
    "imitate",
    "masked_gradients",
    "objective_scale",
    "spectral_squared",
]

if not TYPE_CHECKING:  # otherwise every attribute would seem to exist for the type checker
    __getattr__, __dir__ = lazy_names(__name__, "theory")
