"""How sensitive a policy is on a trajectory: AAJR and its baselines behind one call."""

from aajr.penalties._aajr import AAJR
from aajr.penalties._base import JacobianPenalty, Penalty
from aajr.penalties._ernie import ERNIE
from aajr.penalties._frobenius import Frobenius
from aajr.penalties._input_gradient import InputGradient
from aajr.penalties._random_direction import RandomDirection
from aajr.penalties._running_mean import RunningMean
from aajr.penalties._smoothness import StateAdversarial
from aajr.penalties._spectral import Spectral

__all__ = [
    "AAJR",
    "ERNIE",
    "Frobenius",
    "InputGradient",
    "JacobianPenalty",
    "Penalty",
    "RandomDirection",
    "RunningMean",
    "Spectral",
    "StateAdversarial",
]
