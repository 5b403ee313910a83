"""Build the adversary, the penalty and the report filter from a configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from torch import Tensor, nn

from aajr.adversaries import (
    Adversary,
    Critic,
    Divergence,
    ProjectedGradientAscent,
    Surrogate,
    UniformNoise,
)
from aajr.arena.agents.actors import MedianReports
from aajr.arena.spaces.distributions import CategoricalHeads
from aajr.geometry import Ball, Categorical
from aajr.hide_and_seek.game.items import reporting_sources
from aajr.hide_and_seek.game.threats import threat_ball, under_threat
from aajr.hide_and_seek.training.config import AdversaryConfig, PenaltyConfig, TrainConfig
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
    """Build the adversary's objective from its name."""
    metric = Categorical(heads)
    if config.objective == "mad":
        return Divergence(metric)
    if config.objective == "critic":
        return Critic(value, metric.probabilities)
    return Surrogate(lambda output, action: CategoricalHeads(output, heads).log_prob(action))


def build_adversary(
    config: AdversaryConfig, objective: Objective, ball: Ball
) -> ProjectedGradientAscent:
    """Build projected gradient ascent in the ball."""
    return ProjectedGradientAscent(
        ball,
        objective,
        steps=config.steps,
        step_size=config.step_size * ball.epsilon or None,
        step_rule=config.step_rule,
    )


def build_search(config: AdversaryConfig, objective: Objective, ball: Ball) -> Adversary:
    """Build the search in the ball: gradient ascent, or random noise if ``search`` is ``noise``."""
    if config.search == "noise":
        return UniformNoise(ball)
    return build_adversary(config, objective, ball)


def build_observation_adversary(
    config: TrainConfig, objective: Objective, mask: Tensor, epsilon: float
) -> Adversary:
    """Build the adversary on the masked features, in an L∞ ball.

    Under the threat ``reports`` only k sources at a time may lie.
    """
    adversary, who = config.adversary, config.adversary.liars or "random"
    ball = replace(threat_ball(config.env, adversary.threat, epsilon), mask=mask)
    search = build_search(adversary, objective, ball)
    return under_threat(search, config.env, adversary.threat, who)


def build_front(config: TrainConfig) -> nn.Module | None:
    """Build the report filter in front of the hiders' network, or None."""
    return (
        MedianReports(reporting_sources(config.env)) if config.report_filter == "median" else None
    )


def build_penalty(
    config: PenaltyConfig, ball: Ball, objective: Objective, heads: tuple[int, ...]
) -> Penalty | None:
    """Build the penalty from its name, in the Fisher metric of the action heads; None for ``none``.

    ``global`` is the Frobenius norm over all features; ``global_attackable`` only over the features
    that the adversary may change. ``random_direction`` draws directions within these features,
    where AAJR's directions lie too. With ``within="moved"`` both ``global_attackable`` and
    ``random_direction`` use, for each sample, only the features that the adversary moved.
    """
    common: dict[str, Any] = {"metric": Categorical(heads), "interval": config.interval}
    if config.fraction:
        common["fraction"] = config.fraction
    jacobian = {**common, "points": config.points}
    gamma = config.gamma or None
    mask = config.within or ball.mask
    weight: Literal["one", "gradient"] = "gradient" if config.direction == "gradient" else "one"
    makers: dict[str, Callable[[], Penalty | None]] = {
        "none": lambda: None,
        "aajr": lambda: AAJR(direction=config.direction, gamma=gamma, **jacobian),
        "global": lambda: Frobenius(**jacobian),
        "global_attackable": lambda: Frobenius(mask=mask, **jacobian),
        "spectral": lambda: Spectral(**jacobian),
        "random_direction": lambda: RandomDirection(weight=weight, mask=mask, **jacobian),
        "sa": lambda: StateAdversarial(**common),
        "ernie": lambda: ERNIE(ball=ball, **common),
        "input_gradient": lambda: InputGradient(objective=objective, **jacobian),
    }
    if config.name not in makers:
        raise ValueError(f"penalty.name={config.name!r} is unknown; choose one of {list(makers)}")
    return makers[config.name]()
