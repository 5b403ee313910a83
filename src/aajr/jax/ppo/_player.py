"""A policy with the statistics of its observations, as an opponent meets it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from aajr._settings import check_choice
from aajr.jax._pytree import pytree
from aajr.jax.ppo import _networks as networks
from aajr.jax.ppo._checkpoint import read_facts, read_state
from aajr.jax.ppo._moments import Moments

CHECKPOINT = "checkpoint.npz"
"""Name of a run's file."""

AGENT, ADVERSARY = "agent", "adversary"
"""Names of the learners in a checkpoint."""


@pytree("params", "moments")
@dataclass(frozen=True, eq=False)
class Player:
    """A policy and the statistics of its observations.

    Attributes:
        params: see :data:`aajr.jax.ppo._networks.Params`.
        moments: mean and variance of what it sees.
    """

    params: networks.Params
    moments: Moments

    @property
    def actions(self) -> int:
        """Number of actions."""
        return len(self.params["log_std"])

    @property
    def features(self) -> int:
        """Size of an observation."""
        return networks.features(self.params)

    @property
    def memories(self) -> int:
        """Size of the memory; 0 without an LSTM."""
        return networks.memories(self.params)

    def begin(self, rows: int) -> Array:
        """The memory at an episode's start, ``[rows, memories]``; of none if there is no LSTM."""
        return jnp.zeros((rows, self.memories))

    def rows(self, observation: Array, memory: Array | None = None) -> Array:
        """What the networks read: normalised observations, followed by the memory, if any."""
        x = self.moments.standard(observation)
        return x if memory is None else jnp.concatenate([x, memory], -1)

    def drawn(self, rows: Array, noise: Array) -> Array:
        """Actions from standard normal numbers, ``[rows, actions]``."""
        mean, log_std = jnp.split(networks.policy(self.params, rows), 2, -1)
        return mean + jnp.exp(log_std) * noise

    def mean(self, rows: Array) -> Array:
        """Mean actions, ``[rows, actions]``."""
        return jnp.split(networks.policy(self.params, rows), 2, -1)[0]

    def remember(self, rows: Array) -> Array:
        """The memory after rows, ``[rows, memories]``."""
        return networks.remember(self.params, rows)

    def digest(self) -> str:
        """SHA-256 of all its numbers."""
        total = hashlib.sha256()
        for leaf in jax.tree.leaves(self):
            total.update(np.asarray(leaf).tobytes())
        return total.hexdigest()


def load_player(directory: str | Path, name: str = AGENT) -> Player:
    """The policy of a run, from its checkpoint.

    Args:
        directory: directory of the run.
        name: ``agent`` or ``adversary``.

    Raises:
        FileNotFoundError: no checkpoint is there.
        ValueError: a damaged checkpoint, or one without a learner of this name.
    """
    path = Path(directory) / CHECKPOINT
    settings = read_facts(path)["settings"]
    players = settings["players"]
    check_choice("name", name, tuple(players))
    features, actions, memories = players[name]
    hidden, units = settings["config"]["hidden"], memories // networks.UNIT_MEMORIES
    params = networks.init_params(jax.random.key(0), features, actions, hidden, 0.0, memory=units)
    like: Any = {name: {"params": params, "observations": Moments.empty((features,))}}
    found = read_state(path, like)[name]
    return Player(found["params"], found["observations"])
