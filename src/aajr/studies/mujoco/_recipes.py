"""How an agent is trained: the methods of the MuJoCo study, as functions that give a recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from aajr.jax import (
    AAJR,
    AttackOn,
    Ball,
    DiagonalGaussian,
    Divergence,
    Frobenius,
    LeastValue,
    Minimax,
    Penalty,
    ProjectedGradientAscent,
    RandomDirection,
    StateAdversarial,
    UniformNoise,
)
from aajr.jax.ppo import BoundedDivergence, Corner, Opponent, PPOConfig, Ramp, Robust

if TYPE_CHECKING:
    from aajr.studies.mujoco._protocol import Protocol

METRIC = DiagonalGaussian()
Placement = Literal["clean", "mixed"]


@dataclass(frozen=True)
class Recipe:
    """What :func:`aajr.jax.ppo.train` is called with.

    Attributes:
        config: settings of PPO.
        robust: adversary and penalty; None for none.
        opponent: the adversary that learns; None for none.
    """

    config: PPOConfig
    robust: Robust | None = None
    opponent: Opponent | None = None


Training = Callable[["Protocol", float], Recipe]
"""From the protocol and a value of the tuned hyperparameter to the recipe."""


def plain(protocol: Protocol, factor: float) -> Recipe:
    """PPO; its learning rate is multiplied by a factor."""
    config = protocol.config
    return Recipe(replace(config, learning_rate=factor * config.learning_rate))


def noise(protocol: Protocol, factor: float) -> Recipe:
    """The surrogate, half at x and half at uniform noise within factor · ε."""
    attack = UniformNoise(Ball("linf", protocol.epsilon))
    return Recipe(protocol.config, _minimax(protocol, attack, radius=factor, placement="mixed"))


def adversarial(protocol: Protocol, factor: float) -> Recipe:
    """The surrogate, half at x and half at the point of greatest divergence within factor · ε."""
    attack = _greatest_divergence(protocol)
    return Recipe(protocol.config, _minimax(protocol, attack, radius=factor, placement="mixed"))


def sa(protocol: Protocol, weight: float) -> Recipe:
    """SA-PPO: the divergence at its greatest point is a penalty."""
    return Recipe(protocol.config, _penalised(protocol, StateAdversarial(metric=METRIC), weight))


def sa_bound(protocol: Protocol, weight: float) -> Recipe:
    """SA-PPO's penalty by interval bounds: what no adversary in the ball can exceed."""
    corner, penalty = Corner(Ball("linf", protocol.epsilon)), BoundedDivergence()
    loss = _minimax(protocol, corner, penalty, weight, placement="clean")
    return Recipe(protocol.config, loss)


def frobenius(protocol: Protocol, weight: float) -> Recipe:
    """‖J‖²_F, in all directions alike."""
    return Recipe(protocol.config, _penalised(protocol, _part(protocol, Frobenius), weight))


def random_direction(protocol: Protocol, weight: float) -> Recipe:
    """‖Jv‖² along a random direction."""
    return Recipe(protocol.config, _penalised(protocol, _part(protocol, RandomDirection), weight))


def aajr(protocol: Protocol, weight: float) -> Recipe:
    """‖Jv‖² along the gradient of the divergence."""
    return Recipe(protocol.config, _penalised(protocol, _part(protocol, AAJR), weight))


def aajr_value(protocol: Protocol, weight: float) -> Recipe:
    """‖Jv‖² along the direction in which V falls."""
    return Recipe(protocol.config, _AlongValue(protocol, weight))


def aajr_adversarial(protocol: Protocol, weight: float) -> Recipe:
    """‖Jv‖² along the gradient of the divergence, and the surrogate of ``adversarial``."""
    penalty, attack = _part(protocol, AAJR), _greatest_divergence(protocol)
    loss = _minimax(protocol, attack, penalty, weight, placement="mixed")
    return Recipe(protocol.config, loss)


def atla(protocol: Protocol, factor: float) -> Recipe:
    """An adversary that learns in turn with the agent, in a ball of a factor times ε."""
    half = _halved(protocol)
    return _in_turn(Recipe(half.config), half, factor)


def atla_director(protocol: Protocol, factor: float) -> Recipe:
    """The same with an adversary that chooses a direction of the action (PA-ATLA)."""
    director = Opponent("pa_ad", factor * protocol.epsilon, ramp=protocol.ramp)
    return Recipe(_halved(protocol).config, opponent=director)


def atla_sa(protocol: Protocol, weight: float) -> Recipe:
    """The penalty of SA-PPO, and an adversary that learns."""
    half = _halved(protocol)
    return _in_turn(sa(half, weight), half)


def atla_aajr(protocol: Protocol, weight: float) -> Recipe:
    """‖Jv‖² along the gradient of the divergence, and an adversary that learns."""
    half = _halved(protocol)
    return _in_turn(aajr(half, weight), half)


def lstm(protocol: Protocol, factor: float) -> Recipe:
    """PPO with an LSTM; its learning rate is multiplied by a factor."""
    return plain(_recurrent(protocol), factor)


def lstm_atla_sa(protocol: Protocol, weight: float) -> Recipe:
    """``atla_sa`` with an LSTM, the literature's strongest."""
    return atla_sa(_recurrent(protocol), weight)


def lstm_atla_aajr(protocol: Protocol, weight: float) -> Recipe:
    """``atla_aajr`` with an LSTM."""
    return atla_aajr(_recurrent(protocol), weight)


@dataclass(frozen=True)
class _AlongValue:
    """AAJR along what lowers the present V, as a robust loss made from V."""

    protocol: Protocol
    weight: float

    def __call__(self, value: Callable[[Any], Any]) -> Minimax:
        ball = Ball("linf", self.protocol.epsilon)
        search = ProjectedGradientAscent(ball, LeastValue(), steps=self.protocol.inner_steps)
        penalty = _part(self.protocol, AAJR)
        attack = AttackOn(value, search)
        return _minimax(self.protocol, attack, penalty, self.weight, placement="clean")


def _greatest_divergence(protocol: Protocol) -> ProjectedGradientAscent:
    ball, objective = Ball("linf", protocol.epsilon), Divergence(METRIC)
    return ProjectedGradientAscent(ball, objective, steps=protocol.inner_steps)


def _part(protocol: Protocol, penalty: Any) -> Penalty:
    """A penalty at a share of the rows of every minibatch."""
    made: Penalty = penalty(metric=METRIC, fraction=protocol.fraction, interval=1)
    return made


def _penalised(protocol: Protocol, penalty: Penalty, weight: float) -> Minimax:
    attack = _greatest_divergence(protocol)
    return _minimax(protocol, attack, penalty, weight, placement="clean")


def _minimax(
    protocol: Protocol,
    adversary: Any,
    penalty: Penalty | None = None,
    weight: float = 0.0,
    *,
    placement: Placement,
    radius: float = 1.0,
) -> Minimax:
    """A robust loss whose radius grows over the first part of the run."""
    grown = protocol.ramp * protocol.config.minibatch_updates
    epsilon = Ramp(radius * protocol.epsilon, grown)
    return Minimax(adversary, penalty, weight, placement, epsilon=epsilon)


def _recurrent(protocol: Protocol) -> Protocol:
    """The protocol with an LSTM in place of the last hidden layer, of the same size."""
    *first, last = protocol.config.hidden
    return replace(protocol, config=replace(protocol.config, hidden=tuple(first), memory=last))


def _halved(protocol: Protocol) -> Protocol:
    """The protocol with half the steps, because an adversary plays the other half."""
    return replace(protocol, config=replace(protocol.config, steps=protocol.config.steps // 2))


def _in_turn(recipe: Recipe, protocol: Protocol, factor: float = 1.0) -> Recipe:
    """The recipe with an adversary that learns."""
    opponent = Opponent("sa_rl", factor * protocol.epsilon, ramp=protocol.ramp)
    return replace(recipe, opponent=opponent)
