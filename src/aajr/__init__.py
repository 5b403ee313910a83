"""Adversarially-aligned Jacobian regularisation.

The names below are loaded when first used, so that ``import aajr.jax`` needs no torch. A new name
goes into the imports for the type checker and into ``__all__``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aajr._errors import ContractError, ResolutionWarning

if TYPE_CHECKING:
    from aajr.adversaries import (
        CMAES,
        NES,
        SPSA,
        Adversary,
        AttackOn,
        AutoPGD,
        Critic,
        Divergence,
        Imitation,
        LeastValue,
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
    "ERNIE",
    "NES",
    "SPSA",
    "Adversary",
    "AttackOn",
    "AutoPGD",
    "Ball",
    "Categorical",
    "ContractError",
    "Cosine",
    "Critic",
    "DiagonalGaussian",
    "Divergence",
    "DualAscent",
    "Euclidean",
    "Frobenius",
    "Imitation",
    "InputGradient",
    "LeastValue",
    "Linear",
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

_HOMES = (
    "adversaries",
    "diagnostics",
    "geometry",
    "jacobian",
    "minimax",
    "penalties",
    "schedules",
    "theory",
    "trajectory",
)


def _load(name: str) -> Any:
    """A public name, or a module that holds some, at first use (PEP 562)."""
    if name not in (*__all__, *_HOMES):
        raise AttributeError(f"module 'aajr' has no attribute {name!r}")
    for home in [import_module(f"aajr.{home}") for home in _HOMES]:
        globals().update({known: vars(home)[known] for known in __all__ if known in vars(home)})
    return globals()[name]


if not TYPE_CHECKING:  # or else every attribute would seem to exist
    __getattr__ = _load


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_HOMES})
