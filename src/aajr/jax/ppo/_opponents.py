"""Learned adversaries of what an agent sees: SA-RL and PA-AD."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from aajr._settings import check_choice, check_count, check_number
from aajr.jax._ball import Ball
from aajr.jax._functions import per_row, unit
from aajr.jax._pgd import ProjectedGradientAscent
from aajr.jax._trajectory import Reference
from aajr.jax.ppo._games import Flags, Games, Numbers
from aajr.jax.ppo._moments import Moments
from aajr.jax.ppo._player import Player
from aajr.jax.ppo._recurrent import sparing_memory

Kind = Literal["sa_rl", "pa_ad"]
"""What a command is: a perturbation (SA-RL), or a direction of the mean action (PA-AD)."""


@dataclass(frozen=True)
class Opponent:
    r"""A learned adversary in an L∞ ball, in units of the agent's normalised observations.

    It reads the agent's true observation x and gives a command u. With ``sa_rl`` the perturbation
    is δ = ε clip(u, ±1). With ``pa_ad`` projected gradient ascent looks for the δ that moves the
    agent's mean action along u, max ⟨u, μ(x + δ)⟩.

    Attributes:
        kind: what a command is.
        epsilon: ε.
        ramp: share of an alternating run in which ε grows linearly to its value.
        steps: steps of the ascent of ``pa_ad``; a single step reaches the boundary.
        coverage: share, in [0, 1], of a reward for leading the agent to states where it seldom is
            (IMAP); the rest is the agent's loss.

    Raises:
        ValueError: an unknown kind, numbers out of range.

    Example:
        >>> Opponent("sa_rl", 0.075, ramp=0.5).radius(0.25)
        0.0375

    Source: Zhang et al., Robust reinforcement learning on state observations with learned optimal
    adversary, 2021, https://arxiv.org/abs/2101.08452; Sun et al., Who is the strongest enemy?
    Towards optimal and efficient evasion attacks in deep RL, 2022,
    https://arxiv.org/abs/2106.05087; for the coverage Zheng et al., Toward evaluating robustness of
    reinforcement learning with adversarial policy, 2024, https://arxiv.org/abs/2305.02605.
    """

    kind: Kind
    epsilon: float
    ramp: float = 0.0
    steps: int = 1
    coverage: float = 0.0

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, ("sa_rl", "pa_ad"))
        check_number("epsilon", self.epsilon, exclusive=True)
        check_number("ramp", self.ramp, maximum=1.0)
        check_count("steps", self.steps)
        check_number("coverage", self.coverage, maximum=1.0)

    def radius(self, share: float) -> float:
        """ε when a share of the run is done."""
        return self.epsilon * (min(1.0, share / self.ramp) if self.ramp else 1.0)

    def commands(self, features: int, actions: int) -> int:
        """Size of a command."""
        return features if self.kind == "sa_rl" else actions


class AttackedGames:
    """The game that an adversary plays: its action is a command, its reward the agent's loss.

    The agent acts by its mean. The adversary sees what the agent would see without it, normalised
    by the agent's statistics.

    Args:
        games: environments, in which the agent acts.
        agent: the agent.
        opponent: settings of the adversary.
        epsilon: radius of the perturbations.
        memory: the agent's memory now, ``[count, memories]``; as at an episode's start if None.

    Attributes:
        observation: what the adversary sees, ``[count, features]``.
        memory: the agent's memory now.
        low: least commands, ``[commands]``.
        high: greatest commands, ``[commands]``.
    """

    def __init__(
        self,
        games: Games,
        agent: Player,
        opponent: Opponent,
        epsilon: float,
        memory: Array | None = None,
    ) -> None:
        self._games, self._agent = games, agent
        self._opponent, self._epsilon = opponent, np.float32(epsilon)
        self.memory = agent.begin(len(games.observation)) if memory is None else memory
        self.high = np.ones(opponent.commands(games.features, len(games.low)), np.float32)
        self.low = -self.high
        self._look()

    def step(self, command: Numbers) -> tuple[Numbers, Flags, Flags]:
        """Carry out commands ``[count, commands]``; see :meth:`Games.step`."""
        told = np.clip(command, self.low, self.high)
        counts = ~self._games.over
        action, self.memory = _attacked_action(
            self._opponent, self._agent, self.observation, self.memory, told, counts, self._epsilon
        )
        reward, ended, cut = self._games.step(np.asarray(action))
        self._look()
        return -reward, ended, cut

    def _look(self) -> None:
        seen = _standard(self._agent.moments, self._games.observation)
        self.observation: Numbers = np.asarray(seen)


class DisturbedGames:
    """The game of an agent whose observations an adversary perturbs by commands that it draws.

    Args:
        games: environments.
        agent: the agent.
        adversary: the adversary's policy.
        opponent: settings of the adversary.
        epsilon: radius of the perturbations.
        noise: standard normal numbers of every look, ``[steps + 1, count, commands]``; 0 for the
            adversary's mean commands.
    """

    def __init__(
        self,
        games: Games,
        agent: Player,
        adversary: Player,
        opponent: Opponent,
        epsilon: float,
        noise: Numbers,
    ) -> None:
        self._games, self._agent, self._adversary = games, agent, adversary
        self._opponent, self._epsilon = opponent, np.float32(epsilon)
        self._noise = iter(noise)
        self._look()

    def step(self, action: Numbers) -> tuple[Numbers, Flags, Flags]:
        """Play actions; see :meth:`Games.step`."""
        told = self._games.step(action)
        self._look()
        return told

    def _look(self) -> None:
        players = self._agent, self._adversary
        seen = self._games.observation
        shown = _disturbed(self._opponent, *players, seen, next(self._noise), self._epsilon)
        self.observation: Numbers = np.asarray(shown)


def perturbed(
    opponent: Opponent, agent: Player, x: Array, command: Array, epsilon: float | Array
) -> Array:
    """Carry out commands on normalised observations.

    Args:
        opponent: what a command is.
        agent: the agent.
        x: normalised observations, ``[rows, features]``, followed by the agent's memory if it has
            an LSTM and the command is that of PA-AD.
        command: ``[rows, features]`` for SA-RL, ``[rows, actions]`` for PA-AD.
        epsilon: radius.

    Returns:
        x + δ, in the shape of x; a memory stays.
    """
    if opponent.kind == "sa_rl":
        return x.at[..., : command.shape[-1]].add(epsilon * jnp.clip(command, -1.0, 1.0))
    direction = unit(command, per_row(command))

    def along(mean: Array, reference: Reference) -> Array:
        return (mean * direction).sum(-1)

    first = epsilon if opponent.steps == 1 else None
    ball = sparing_memory(Ball("linf", epsilon), agent.features, agent.memories)
    ascent = ProjectedGradientAscent(
        ball, along, steps=opponent.steps, step_size=first, random_start=False
    )
    reference = Reference(x, agent.mean(x), {})
    return ascent.run(agent.mean, reference, jnp.zeros((1, *x.shape))).worst


@partial(jax.jit, static_argnames=("opponent",))
def _attacked_action(
    opponent: Opponent,
    agent: Player,
    x: Any,
    memory: Array,
    command: Any,
    counts: Any,
    epsilon: Any,
) -> tuple[Array, Array]:
    """Mean actions under attack, and the agent's memory after them."""
    rows = perturbed(opponent, agent, jnp.concatenate([x, memory], -1), command, epsilon)
    return agent.mean(rows), agent.remember(rows) * counts[:, None]


@partial(jax.jit, static_argnames=("opponent",))
def _disturbed(
    opponent: Opponent,
    agent: Player,
    adversary: Player,
    observation: Any,
    noise: Any,
    epsilon: Any,
) -> Array:
    """Raw observations that show the agent x + δ."""
    x = agent.moments.standard(observation)
    command = adversary.drawn(adversary.rows(x), noise)
    moved = perturbed(opponent, agent, x, command, epsilon) - x
    return observation + agent.moments.deviation * moved


@jax.jit
def _standard(moments: Moments, observation: Any) -> Array:
    return moments.standard(observation)
