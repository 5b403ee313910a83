"""The training run: play, learn, keep."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aajr._seeds import derive
from aajr.jax._checks import check_count, check_instance
from aajr.jax._minimax import Minimax
from aajr.jax.ppo._checkpoint import described, read_facts, read_state, write_state
from aajr.jax.ppo._config import PPOConfig
from aajr.jax.ppo._games import Games
from aajr.jax.ppo._learner import Learner, Rollout, act, draws, init_learner, update
from aajr.jax.ppo._moments import FARTHEST, LEAST

Line = dict[str, float | None]
"""Numbers of one update: ``steps``, ``seconds``, ``return``, and the means of its minibatches."""

Progress = Callable[[Line], None]
"""Called after every update with its line."""

CHECKPOINT = "checkpoint.npz"

EPISODES = 100
"""Number of latest episodes whose mean return is logged."""


@dataclass(frozen=True)
class Trained:
    """What a run has reached.

    Attributes:
        learner: the learner, with its policy and the statistics of its observations.
        log: a line for every update; ``return`` is the mean of the latest episodes of the segment,
            None before the first one's end.
    """

    learner: Learner
    log: list[Line]


def train(
    environment: str,
    directory: str | Path,
    config: PPOConfig | None = None,
    robust: Minimax | None = None,
    *,
    seed: int = 0,
    threads: int = 2,
    progress: Progress | None = None,
) -> Trained:
    """Train a policy by PPO, plain or robust; the same call goes on with a stopped run, exactly.

    The policy sees observations divided by their running standard deviations, and ε is a radius in
    this unit. ``directory`` holds ``checkpoint.npz``, written after every segment, and
    ``log.jsonl``.

    Args:
        environment: a name that Gymnasium knows, or ``envpool:`` before one that EnvPool knows.
        directory: where the run is kept.
        config: settings of PPO.
        robust: adversary and penalty around PPO's surrogate; with an adversary on the divergence
            and the metric :class:`aajr.jax.DiagonalGaussian`, for instance. None for plain PPO.
            Of a schedule in it the checkpoint knows only the function's name.
        seed: seed of the run.
        threads: threads that step EnvPool's environments.
        progress: see :data:`Progress`.

    Raises:
        ValueError: bad settings, a directory with a run of other settings, a damaged checkpoint.
        FloatingPointError: NaN in an update; the checkpoint before it stays.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> small = PPOConfig(64, 2, 16, epochs=1, minibatches=2, hidden=(8,), segment=1)
        >>> with TemporaryDirectory() as directory:
        ...     run = train("Pendulum-v1", directory, small)
        >>> [line["steps"] for line in run.log]
        [32, 64]

    Source: Schulman et al., Proximal policy optimization algorithms, 2017,
    https://arxiv.org/abs/1707.06347.
    """
    config, directory = config or PPOConfig(), Path(directory)
    check_count("seed", seed, minimum=0)
    check_count("threads", threads)
    if robust is not None:
        check_instance("robust", robust, Minimax, "a Minimax of aajr.jax, or None")
    directory.mkdir(parents=True, exist_ok=True)
    run = _Run(environment, directory, config, robust, seed, threads)
    while len(run.log) < config.updates:
        run.segment(progress)
    return Trained(run.learner, run.log)


class _Run:
    """A run between two checkpoints."""

    def __init__(
        self,
        environment: str,
        directory: Path,
        config: PPOConfig,
        robust: Minimax | None,
        seed: int,
        threads: int,
    ) -> None:
        self.environment, self.directory, self.config = environment, directory, config
        self.robust, self.seed, self.threads = robust, seed, threads
        games = self._games(0)
        self.facts = {
            "environment": environment,
            "config": dataclasses.asdict(config),
            "robust": described(robust),
            "seed": seed,
            "low": games.low.tolist(),
            "high": games.high.tolist(),
            "clip": FARTHEST,
            "least_variance": LEAST,
        }
        self.learner = init_learner(config, games.features, len(games.low), robust, seed)
        games.close()
        self.log: list[Line] = []
        if self.checkpoint.exists():
            self._resume()

    @property
    def checkpoint(self) -> Path:
        """File of the latest checkpoint."""
        return self.directory / CHECKPOINT

    def segment(self, progress: Progress | None) -> None:
        """Train to the next checkpoint, and write it."""
        done, games = len(self.log), self._games(len(self.log))
        match, before = _Match(games, self.config), self.log[-1]["seconds"] if self.log else 0.0
        began = time.perf_counter()
        for number in range(done, min(done + self.config.segment, self.config.updates)):
            rollout, self.learner = match.play(self.learner)
            self.learner, told = update(self.config, self.robust, self.learner, rollout)
            seconds = (before or 0.0) + time.perf_counter() - began
            line: Line = {"steps": (number + 1) * self.config.rows, "seconds": seconds}
            self.log.append(self._checked(line, told) | {"return": match.mean_return})
            if progress is not None:
                progress(self.log[-1])
        games.close()
        begun = 0 * self.learner.discounted  # all episodes begin anew after a checkpoint
        self.learner = dataclasses.replace(self.learner, discounted=begun)
        self._keep()

    def _games(self, update: int) -> Games:
        seed = derive(self.seed, "environments", update)
        return Games(self.environment, self.config.environments, seed, self.threads)

    def _checked(self, line: Line, told: dict[str, Any]) -> Line:
        """The line of the log; FloatingPointError if anything is NaN or infinite."""
        found = line | {name: float(value) for name, value in told.items()}
        finite = {name: math.isfinite(value or 0.0) for name, value in found.items()}
        finite["weights"] = all(
            bool(np.isfinite(leaf).all()) for leaf in jax.tree.leaves(self.learner.params)
        )
        if not all(finite.values()):
            bad = ", ".join(name for name, good in finite.items() if not good)
            raise FloatingPointError(
                f"update {len(self.log)}: {bad} became NaN or infinite; the last good state, if "
                f"any, is in {self.checkpoint}. Lower learning_rate, ε or the penalty's weight"
            )
        return found

    def _keep(self) -> None:
        write_state(self.checkpoint, self.learner, {"settings": self.facts, "log": self.log})
        draft = self.directory / "log.jsonl.tmp"
        draft.write_text("".join(json.dumps(line) + "\n" for line in self.log), encoding="utf-8")
        draft.replace(self.directory / "log.jsonl")

    def _resume(self) -> None:
        facts = read_facts(self.checkpoint)
        if facts["settings"] != json.loads(json.dumps(self.facts)):
            raise ValueError(
                f"{self.checkpoint} holds a run of other settings, {facts['settings']}; give "
                "another directory or remove it"
            )
        self.learner, self.log = read_state(self.checkpoint, self.learner), facts["log"]


class _Match:
    """Environments that are being played, and the returns of their episodes."""

    def __init__(self, games: Games, config: PPOConfig) -> None:
        self._games, self._config = games, config
        self._over = np.zeros(config.environments, bool)
        self._total = np.zeros(config.environments)
        self._returns: deque[float] = deque(maxlen=EPISODES)

    @property
    def mean_return(self) -> float | None:
        """Mean return of the latest episodes of this segment; None before the first one's end."""
        return float(np.mean(self._returns)) if self._returns else None

    def play(self, learner: Learner) -> tuple[Rollout, Learner]:
        """A rollout from where the episodes are."""
        noise, learner = draws(self._config, learner)
        params, moments = learner.params, learner.observations
        rows: list[tuple[Any, ...]] = []
        seen = [self._games.observation]
        for draw in np.asarray(noise):
            action = np.asarray(act(params, moments, self._games.observation, draw))
            counts = ~self._over
            reward, ended, cut = self._games.step(action)
            rows.append((action, reward, ended, cut, counts))
            seen.append(self._games.observation)
            self._count(reward, ended | cut)
        columns = [jnp.asarray(np.stack(column), float) for column in zip(*rows, strict=True)]
        return Rollout(jnp.asarray(np.stack(seen)), *columns), learner

    def _count(self, reward: np.ndarray, over: np.ndarray) -> None:
        self._total += reward
        self._returns.extend(self._total[over].tolist())
        self._total[over], self._over = 0.0, over
