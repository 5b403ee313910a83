"""Inner maximisation: objectives and solvers. Every adversary returns a Trajectory."""

from aajr._errors import MaskedGradientWarning
from aajr._shared import LeastValue, Mixture, Surrogate
from aajr.adversaries._apgd import AutoPGD
from aajr.adversaries._auto_attack import AutoAttackResult, auto_attack
from aajr.adversaries._base import Adversary
from aajr.adversaries._classification import DLR, CrossEntropy, Margin
from aajr.adversaries._cma_es import CMAES
from aajr.adversaries._dynamics import Dynamics, ThroughDynamics
from aajr.adversaries._elsewhere import AttackOn, Transfer
from aajr.adversaries._estimated import SmoothedAscent
from aajr.adversaries._evaluation import rows_at_once
from aajr.adversaries._fab import FAB
from aajr.adversaries._imitation import Imitation, imitate
from aajr.adversaries._lying_sources import LyingSources, Who
from aajr.adversaries._masked import MaskedGradients, masked_gradients
from aajr.adversaries._noise import UniformNoise
from aajr.adversaries._objectives import Critic, Divergence, Targeted, objective_scale
from aajr.adversaries._paired import NES, SPSA
from aajr.adversaries._pgd import ProjectedGradientAscent, fgsm
from aajr.adversaries._radius import with_ball, with_epsilon
from aajr.adversaries._replayed import Replayed
from aajr.adversaries._search import RandomSearch, Search, Square
from aajr.adversaries._step_rules import STEP_RULES, Arc, Passes, StepRule
from aajr.adversaries._structured import StructuredAdversary
from aajr.adversaries._structured_search import CoordinateAscent, SubsetSearch
from aajr.adversaries._structured_sparse import SparseAscent
from aajr.adversaries._temporal import EpisodeBudget, TemporallyCoupled
from aajr.adversaries._vertices import VertexSearch

__all__ = [
    "CMAES",
    "DLR",
    "FAB",
    "NES",
    "SPSA",
    "STEP_RULES",
    "Adversary",
    "Arc",
    "AttackOn",
    "AutoAttackResult",
    "AutoPGD",
    "CoordinateAscent",
    "Critic",
    "CrossEntropy",
    "Divergence",
    "Dynamics",
    "EpisodeBudget",
    "Imitation",
    "LeastValue",
    "LyingSources",
    "Margin",
    "MaskedGradientWarning",
    "MaskedGradients",
    "Mixture",
    "Passes",
    "ProjectedGradientAscent",
    "RandomSearch",
    "Replayed",
    "Search",
    "SmoothedAscent",
    "SparseAscent",
    "Square",
    "StepRule",
    "StructuredAdversary",
    "SubsetSearch",
    "Surrogate",
    "Targeted",
    "TemporallyCoupled",
    "ThroughDynamics",
    "Transfer",
    "UniformNoise",
    "VertexSearch",
    "Who",
    "auto_attack",
    "fgsm",
    "imitate",
    "masked_gradients",
    "objective_scale",
    "rows_at_once",
    "with_ball",
    "with_epsilon",
]
