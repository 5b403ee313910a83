"""Rollouts: environments that are being played, and the returns of their episodes."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from aajr.jax.ppo._config import PPOConfig
from aajr.jax.ppo._games import Flags, Games, Numbers
from aajr.jax.ppo._learner import Learner, Rollout
from aajr.jax.ppo._player import Player

EPISODES = 100
"""Number of latest episodes whose mean return is logged."""


class Board(Protocol):
    """What a learner plays: :class:`Games`, or these as an adversary or its victim meets them."""

    observation: Numbers

    def step(self, action: Numbers) -> tuple[Numbers, Flags, Flags]:
        """Play one step."""


class Match:
    """Environments that are being played, and the returns of their latest episodes.

    Attributes:
        games: the environments.
        victim: memory of the agent that an adversary attacks in them; None at the start.
    """

    def __init__(self, games: Games, config: PPOConfig) -> None:
        self.games, self._config = games, config
        self.victim: Array | None = None
        self._memory: Array | None = None
        self._total = np.zeros(config.environments)
        self._returns: deque[float] = deque(maxlen=EPISODES)

    @property
    def mean_return(self) -> float | None:
        """Mean of the learner's latest returns; None before the first episode's end."""
        return float(np.mean(self._returns)) if self._returns else None

    def play(self, learner: Learner, board: Board | None = None) -> tuple[Rollout, Learner]:
        """A rollout from where the episodes are, on a board over the match's environments."""
        board, player = self.games if board is None else board, learner.player
        steps = self._config.rollout, self._config.environments
        noise, key = normal(learner.key, (*steps, player.actions))
        rows: list[tuple[Any, ...]] = []
        seen = [board.observation]
        memory = player.begin(len(seen[0])) if self._memory is None else self._memory
        known = [memory]
        for draw in np.asarray(noise):
            counts = ~self.games.over
            acted, memory = _act(player, seen[-1], memory, draw, counts)
            action = np.asarray(acted)
            reward, ended, cut = board.step(action)
            rows.append((action, reward, ended, cut, counts))
            seen.append(board.observation)
            known.append(memory)
            self._count(reward, ended | cut)
        self._memory = memory
        columns = [jnp.asarray(np.stack(column), float) for column in zip(*rows, strict=True)]
        rollout = Rollout(jnp.asarray(np.stack(seen)), jnp.stack(known), *columns)
        return rollout, replace(learner, key=key)

    def _count(self, reward: np.ndarray, over: np.ndarray) -> None:
        self._total += reward
        self._returns.extend(self._total[over].tolist())
        self._total[over] = 0.0


@partial(jax.jit, static_argnames=("shape",))
def normal(key: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Standard normal numbers, and the key after."""
    after, own = jax.random.split(key)
    return jax.random.normal(own, shape), after


@jax.jit
def _act(
    player: Player, observation: Any, memory: Array, noise: Any, counts: Any
) -> tuple[Array, Array]:
    """Actions at raw observations ``[environments, features]``, and the memory after them."""
    rows = player.rows(observation, memory)
    return player.drawn(rows, noise), player.remember(rows) * counts[:, None]
