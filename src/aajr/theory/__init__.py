"""The theory of the inner loop: its statements, their constants, and what a trajectory did."""

from aajr.theory._admissible import (
    Membership,
    Witness,
    anisotropic_policy,
    membership,
    top_singular,
)
from aajr.theory._ascent import Ascent, along_direction, loss_of, measure_ascent
from aajr.theory._consensus import unavoidable_damage
from aajr.theory._constants import (
    Constants,
    critic_constants,
    divergence_constants,
    network_constants,
    softmax_constants,
    surrogate_constants,
)
from aajr.theory._statements import (
    damage_bound,
    effective_smoothness,
    euclidean_step_limit,
    gradient_bound,
    guaranteed_ascent,
    guaranteed_gain,
    normalized_step_limit,
    sign_step_limit,
)

__all__ = [
    "Ascent",
    "Constants",
    "Membership",
    "Witness",
    "along_direction",
    "anisotropic_policy",
    "critic_constants",
    "damage_bound",
    "divergence_constants",
    "effective_smoothness",
    "euclidean_step_limit",
    "gradient_bound",
    "guaranteed_ascent",
    "guaranteed_gain",
    "loss_of",
    "measure_ascent",
    "membership",
    "network_constants",
    "normalized_step_limit",
    "sign_step_limit",
    "softmax_constants",
    "surrogate_constants",
    "top_singular",
    "unavoidable_damage",
]
