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
from aajr.adversaries._step_rules import STEP_RULES, StepRule
from aajr.adversaries._structured import StructuredAdversary
from aajr.adversaries._structured_search import CoordinateAscent, SubsetSearch
from aajr.adversaries._structured_sparse import SparseAscent

__all__ = [
    "STEP_RULES",
    "Adversary",
    "CoordinateAscent",
    "Critic",
    "Divergence",
    "MaskedGradientWarning",
    "ProjectedGradientAscent",
    "SparseAscent",
    "StepRule",
    "StructuredAdversary",
    "SubsetSearch",
    "Surrogate",
    "Targeted",
    "UniformNoise",
]
