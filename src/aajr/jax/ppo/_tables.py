"""The environments of a run, made anew for every segment with seeds of their own."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from aajr._seeds import derive
from aajr.jax._checks import check_count
from aajr.jax.ppo._config import PPOConfig
from aajr.jax.ppo._games import Games
from aajr.jax.ppo._moments import FARTHEST, LEAST
from aajr.jax.ppo._play import Match
from aajr.jax.ppo._player import AGENT


class Tables:
    """Makes the environments at which the learners of a run play.

    Args:
        environment: see :func:`aajr.jax.ppo.train`.
        config: settings of PPO.
        seed: seed of the run.
        threads: threads that step EnvPool's environments.

    Attributes:
        features: size of an observation.
        actions: number of actions.
        facts: JSON values that determine what is played.
    """

    def __init__(self, environment: str, config: PPOConfig, seed: int, threads: int) -> None:
        check_count("seed", seed, minimum=0)
        check_count("threads", threads)
        self._environment, self._config = environment, config
        self._seed, self._threads = seed, threads
        games = self._games(AGENT, 0)
        self.features, self.actions = games.features, len(games.low)
        self.facts: dict[str, Any] = {
            "environment": environment,
            "config": dataclasses.asdict(config),
            "seed": seed,
            "low": games.low.tolist(),
            "high": games.high.tolist(),
            "clip": FARTHEST,
            "least_variance": LEAST,
        }
        games.close()

    @contextmanager
    def matches(self, update: int, names: Iterable[str]) -> Iterator[dict[str, Match]]:
        """A match for each who learns, from an update on."""
        found = {name: Match(self._games(name, update), self._config) for name in names}
        try:
            yield found
        finally:
            for match in found.values():
                match.games.close()

    def _games(self, name: str, update: int) -> Games:
        seed = derive(self._seed, f"environments of the {name}", update)
        return Games(self._environment, self._config.environments, seed, self._threads)
