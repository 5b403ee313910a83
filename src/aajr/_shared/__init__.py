"""What torch and JAX share: settings with their checks, and code that works on arrays of both.

A class of this package has a subclass of the same name on each side, or both sides use it as it is.
This package imports neither torch nor JAX.
"""

from aajr._shared._ascent import RECORDED, ProjectedGradientAscent, Recorded
from aajr._shared._ball import Ball, Norm
from aajr._shared._classification import DLR, CrossEntropy, Margin
from aajr._shared._documented import documented
from aajr._shared._metrics import Categorical, DiagonalGaussian, check_halves
from aajr._shared._minimax import Placement, check_placement, placed_loss
from aajr._shared._objectives import (
    Critic,
    Divergence,
    LeastValue,
    Mixture,
    Surrogate,
    Targeted,
)
from aajr._shared._penalties import (
    AAJR,
    ERNIE,
    Estimator,
    Frobenius,
    InputGradient,
    JacobianPenalty,
    Penalty,
    Points,
    RandomDirection,
    Spectral,
    StateAdversarial,
    along,
)
from aajr._shared._trajectory import Trajectory

__all__ = [
    "AAJR",
    "DLR",
    "ERNIE",
    "RECORDED",
    "Ball",
    "Categorical",
    "Critic",
    "CrossEntropy",
    "DiagonalGaussian",
    "Divergence",
    "Estimator",
    "Frobenius",
    "InputGradient",
    "JacobianPenalty",
    "LeastValue",
    "Margin",
    "Mixture",
    "Norm",
    "Penalty",
    "Placement",
    "Points",
    "ProjectedGradientAscent",
    "RandomDirection",
    "Recorded",
    "Spectral",
    "StateAdversarial",
    "Surrogate",
    "Targeted",
    "Trajectory",
    "along",
    "check_halves",
    "check_placement",
    "documented",
    "placed_loss",
]
