"""Inner maximisation: objectives and solvers. Every adversary returns a Trajectory."""

from aajr.adversaries._base import Adversary, MaskedGradientWarning
from aajr.adversaries._noise import UniformNoise
from aajr.adversaries._objectives import (
    Critic,
    Divergence,
    Surrogate,
    Targeted,
)
from aajr.adversaries._pgd import ProjectedGradientAscent

__all__ = [
    "Adversary",
    "Critic",
    "Divergence",
    "MaskedGradientWarning",
    "ProjectedGradientAscent",
    "Surrogate",
    "Targeted",
    "UniformNoise",
]
