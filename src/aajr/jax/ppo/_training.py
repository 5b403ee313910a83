"""Training of an agent: alone, or in turn with a learned adversary."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from aajr._seeds import derive
from aajr.jax._checks import check_instance
from aajr.jax.ppo._checkpoint import described
from aajr.jax.ppo._config import PPOConfig, feed_forward
from aajr.jax.ppo._coverage import with_coverage
from aajr.jax.ppo._learner import Learner, Robust, check_robust, init_learner, update
from aajr.jax.ppo._opponents import AttackedGames, DisturbedGames, Opponent
from aajr.jax.ppo._play import Match, normal
from aajr.jax.ppo._player import ADVERSARY, AGENT
from aajr.jax.ppo._run import Learners, Line, Progress, Run
from aajr.jax.ppo._tables import Tables


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
    robust: Robust | None = None,
    *,
    opponent: Opponent | None = None,
    seed: int = 0,
    threads: int = 2,
    progress: Progress | None = None,
) -> Trained:
    """Train a policy by PPO, plain or robust; the same call goes on with a stopped run, exactly.

    The policy sees observations divided by their running standard deviations, and ε is a radius in
    this unit. ``directory`` holds ``checkpoint.npz``, written after every segment, and
    ``log.jsonl``.

    With an ``opponent`` an adversary learns too (ATLA): agent and adversary take turns, and each
    plays a rollout of its own against the other, so that a run plays twice ``config.steps``. The
    logged ``return`` is then that under attack. With ``config.memory`` the agent has an LSTM; the
    penalty and the search leave its memory alone, and the adversary has none.

    Args:
        environment: a name that Gymnasium knows, or ``envpool:`` before one that EnvPool knows.
        directory: where the run is kept.
        config: settings of PPO.
        robust: adversary and penalty around PPO's surrogate; with an adversary on the divergence
            and the metric :class:`aajr.jax.DiagonalGaussian`, for instance. Its objective may read
            ``action`` and ``advantage``. A function of V ``[rows, features]`` to ``[rows, 1]`` that
            returns it, for an adversary that attacks V (:class:`aajr.jax.AttackOn`). None for
            plain PPO. The checkpoint knows dataclasses such as :class:`aajr.jax.ppo.Ramp` whole,
            and of a function only the name.
        opponent: the adversary that learns; None for none.
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
    https://arxiv.org/abs/1707.06347; for the opponent Zhang et al., 2021,
    https://arxiv.org/abs/2101.08452.
    """
    config = config or PPOConfig()
    if robust is not None:
        check_robust(robust)
    if opponent is not None:
        check_instance("opponent", opponent, Opponent, "an Opponent, or None")
    tables = Tables(environment, config, seed, threads)
    features, actions = tables.features, tables.actions
    learners = {AGENT: init_learner(config, features, actions, robust, seed)}
    if opponent is not None:
        if config.memory and opponent.kind == "pa_ad":
            raise ValueError(
                f"opponent.kind='pa_ad' steers by the agent's gradient, which its memory of "
                f"config.memory={config.memory} units decides too and the opponent does not see; "
                "use 'sa_rl'"
            )
        commands, own = opponent.commands(features, actions), derive(seed, ADVERSARY)
        learners[ADVERSARY] = init_learner(feed_forward(config), features, commands, None, own)
    roles = {"robust": described(robust), "opponent": described(opponent)}
    run = Run(Path(directory), {**tables.facts, **roles}, config, learners)
    turn = partial(_turn, config, robust, opponent)
    return Trained(run.finish(tables, turn, progress)[AGENT], run.log)


def _turn(
    config: PPOConfig,
    robust: Robust | None,
    opponent: Opponent | None,
    matches: dict[str, Match],
    learners: Learners,
    number: int,
) -> tuple[Learners, dict[str, Any]]:
    """The agent's update, then the adversary's, if there is one."""
    agent, mine = learners[AGENT], matches[AGENT]
    if opponent is None:
        rollout, agent = mine.play(agent)
        agent, told = update(config, robust, agent, rollout)
        return {AGENT: agent}, told | {"return": mine.mean_return}
    epsilon = opponent.radius((number + 1) / config.updates)
    adversary, other = learners[ADVERSARY], matches[ADVERSARY]
    noise, key = normal(adversary.key, _looks(config, adversary))
    players = agent.player, adversary.player
    shown = DisturbedGames(mine.games, *players, opponent, epsilon, np.asarray(noise))
    rollout, agent = mine.play(agent, shown)
    agent, told = update(config, robust, agent, rollout)
    board = AttackedGames(other.games, agent.player, opponent, epsilon, other.victim)
    rollout, adversary = other.play(replace(adversary, key=key), board)
    other.victim = board.memory
    rollout = with_coverage(rollout, opponent.coverage)
    adversary, _ = update(feed_forward(config), None, adversary, rollout)
    return {AGENT: agent, ADVERSARY: adversary}, told | {"return": mine.mean_return}


def _looks(config: PPOConfig, adversary: Learner) -> tuple[int, ...]:
    """Shape of the noise of its commands in a rollout of the agent."""
    return config.rollout + 1, config.environments, adversary.player.actions
