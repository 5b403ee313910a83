"""From configuration to adversary, penalty and their composition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from torch import Tensor

from aajr.adversaries import Critic, Divergence, ProjectedGradientAscent, Surrogate
from aajr.arena.distributions import CategoricalHeads
from aajr.geometry import Ball, Categorical
from aajr.hide_and_seek.training.config import AdversaryConfig, PenaltyConfig
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
from aajr.trajectory import Objective

Value = Callable[[Tensor, Tensor], Tensor]


def build_objective(config: AdversaryConfig, heads: tuple[int, ...], value: Value) -> Objective:
    """The adversary's objective by its name."""
    metric = Categorical(heads)
    if config.objective == "mad":
        return Divergence(metric)
    if config.objective == "critic":
        return Critic(value, metric.probabilities)
    return Surrogate(lambda output, action: CategoricalHeads(output, heads).log_prob(action))


def build_adversary(
    config: AdversaryConfig, objective: Objective, mask: Tensor | None, epsilon: float
) -> ProjectedGradientAscent:
    """Projected gradient ascent on the attackable features, L∞."""
    return ProjectedGradientAscent(
        Ball("linf", epsilon, mask=mask),
        objective,
        steps=config.steps,
        step_size=config.step_size * epsilon or None,
        step_rule=config.step_rule,
    )


def build_penalty(
    config: PenaltyConfig, ball: Ball, objective: Objective, heads: tuple[int, ...]
) -> Penalty | None:
    """The penalty by its name, in the Fisher metric of the action heads; None for ``none``.

    ``global`` is the Frobenius norm over all features, ``global_attackable`` over those that the
    adversary can touch. Random directions stay within the attackable features, as AAJR's do.
    """
    common: dict[str, Any] = {"metric": Categorical(heads), "interval": config.interval}
    if config.fraction:
        common["fraction"] = config.fraction
    jacobian = {**common, "points": config.points}
    gamma = config.gamma or None
    weight: Literal["one", "gradient"] = "gradient" if config.direction == "gradient" else "one"
    makers: dict[str, Callable[[], Penalty | None]] = {
        "none": lambda: None,
        "aajr": lambda: AAJR(direction=config.direction, gamma=gamma, **jacobian),
        "global": lambda: Frobenius(**jacobian),
        "global_attackable": lambda: Frobenius(mask=ball.mask, **jacobian),
        "spectral": lambda: Spectral(**jacobian),
        "random_direction": lambda: RandomDirection(weight=weight, mask=ball.mask, **jacobian),
        "sa": lambda: StateAdversarial(**common),
        "ernie": lambda: ERNIE(ball=ball, **common),
        "input_gradient": lambda: InputGradient(objective=objective, **jacobian),
    }
    if config.name not in makers:
        raise ValueError(f"penalty.name={config.name!r} is unknown; choose one of {list(makers)}")
    return makers[config.name]()
