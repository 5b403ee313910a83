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

    def mean(self, observation: Array) -> Array:
        """Mean actions at observations in its unit before normalisation, ``[rows, actions]``."""
        return self.mean_at(self.moments.standard(observation))

    def drawn(self, observation: Array, noise: Array) -> Array:
        """Actions at observations before normalisation, from standard normal numbers."""
        output = networks.policy(self.params, self.moments.standard(observation))
        mean, log_std = jnp.split(output, 2, -1)
        return mean + jnp.exp(log_std) * noise

    def mean_at(self, x: Array) -> Array:
        """Mean actions at normalised observations."""
        return jnp.split(networks.policy(self.params, x), 2, -1)[0]

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
    features, actions = players[name]
    params = networks.init_params(
        jax.random.key(0), features, actions, settings["config"]["hidden"], 0.0
    )
    like: Any = {name: {"params": params, "observations": Moments.empty((features,))}}
    found = read_state(path, like)[name]
    return Player(found["params"], found["observations"])
