"""Adversarially-aligned Jacobian regularisation as pure functions on pytrees, for JAX.

The names, the order of arguments and the defaults are those of :mod:`aajr`. A random key takes the
place of torch's generator, and a policy is a function of its input that closes over its parameters.
Importing this package never imports torch.
"""

from aajr._errors import ContractError, MaskedGradientWarning, ResolutionWarning
from aajr._shared import Critic, LeastValue, Mixture, Surrogate
from aajr.jax._aajr import AAJR
from aajr.jax._adversary import Adversary, UniformNoise
from aajr.jax._ball import Ball
from aajr.jax._classification import DLR, CrossEntropy, Margin
from aajr.jax._directional import ESTIMATORS, directional_curvature, directional_derivative
from aajr.jax._elsewhere import AttackOn
from aajr.jax._ernie import ERNIE
from aajr.jax._frobenius import Frobenius
from aajr.jax._input_gradient import InputGradient
from aajr.jax._metrics import Categorical, DiagonalGaussian, Euclidean, Metric
from aajr.jax._minimax import Minimax, MinimaxState, RobustLoss, diagnose
from aajr.jax._norms import frobenius_squared, spectral_squared
from aajr.jax._objectives import Divergence, Targeted, objective_scale
from aajr.jax._penalty import JacobianPenalty, Penalty
from aajr.jax._pgd import ProjectedGradientAscent, fgsm, with_epsilon
from aajr.jax._random_direction import RandomDirection
from aajr.jax._rows import rows_at_once
from aajr.jax._running_mean import RunningMean
from aajr.jax._smoothness import StateAdversarial
from aajr.jax._spectral import Spectral
from aajr.jax._step_rules import STEP_RULES
from aajr.jax._trajectory import Objective, Reference, Trajectory

__all__ = [
    "AAJR",
    "DLR",
    "ERNIE",
    "ESTIMATORS",
    "STEP_RULES",
    "Adversary",
    "AttackOn",
    "Ball",
    "Categorical",
    "ContractError",
    "Critic",
    "CrossEntropy",
    "DiagonalGaussian",
    "Divergence",
    "Euclidean",
    "Frobenius",
    "InputGradient",
    "JacobianPenalty",
    "LeastValue",
    "Margin",
    "MaskedGradientWarning",
    "Metric",
    "Minimax",
    "MinimaxState",
    "Mixture",
    "Objective",
    "Penalty",
    "ProjectedGradientAscent",
    "RandomDirection",
    "Reference",
    "ResolutionWarning",
    "RobustLoss",
    "RunningMean",
    "Spectral",
    "StateAdversarial",
    "Surrogate",
    "Targeted",
    "Trajectory",
    "UniformNoise",
    "diagnose",
    "directional_curvature",
    "directional_derivative",
    "fgsm",
    "frobenius_squared",
    "objective_scale",
    "rows_at_once",
    "spectral_squared",
    "with_epsilon",
]
