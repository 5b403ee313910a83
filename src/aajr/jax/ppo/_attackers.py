"""Training of an adversary against a finished agent."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from aajr.jax._checks import check_instance
from aajr.jax.ppo._checkpoint import described
from aajr.jax.ppo._config import PPOConfig
from aajr.jax.ppo._coverage import with_coverage
from aajr.jax.ppo._learner import init_learner, update
from aajr.jax.ppo._opponents import AttackedGames, Opponent
from aajr.jax.ppo._play import Match
from aajr.jax.ppo._player import ADVERSARY, Player
from aajr.jax.ppo._run import Learners, Progress, Run
from aajr.jax.ppo._tables import Tables
from aajr.jax.ppo._training import Trained


def train_attacker(
    environment: str,
    agent: Player,
    directory: str | Path,
    opponent: Opponent,
    config: PPOConfig | None = None,
    *,
    seed: int = 0,
    threads: int = 2,
    progress: Progress | None = None,
) -> Trained:
    """Train an adversary of a finished agent by PPO; its reward is the negative of the agent's.

    The agent acts by its mean. The same call goes on with a stopped run, exactly.

    Args:
        environment: see :func:`aajr.jax.ppo.train`.
        agent: the agent, see :func:`load_player`.
        directory: where the run is kept, as a run of :func:`aajr.jax.ppo.train`.
        opponent: what the adversary may do; its ``ramp`` is not used.
        config: settings of PPO.
        seed: seed of the run.
        threads: threads that step EnvPool's environments.
        progress: see :data:`Progress`; ``return`` is the adversary's, the negative of the agent's.

    Returns:
        The adversary; it reads observations as the agent sees them without attack.

    Raises:
        ValueError: as of :func:`aajr.jax.ppo.train`; an agent of another environment.
        FloatingPointError: NaN in an update; the checkpoint before it stays.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from aajr.jax.ppo import load_player, train
        >>> small = PPOConfig(64, 2, 16, epochs=1, minibatches=2, hidden=(8,), segment=1)
        >>> with TemporaryDirectory() as a, TemporaryDirectory() as b:
        ...     _ = train("Pendulum-v1", a, small)
        ...     attack = Opponent("sa_rl", 0.1)
        ...     run = train_attacker("Pendulum-v1", load_player(a), b, attack, small)
        >>> len(run.log), run.learner.params["log_std"].shape
        (2, (3,))

    Source: Zhang et al., 2021, https://arxiv.org/abs/2101.08452 (SA-RL); Sun et al., 2022,
    https://arxiv.org/abs/2106.05087 (PA-AD); Zheng et al., 2024, https://arxiv.org/abs/2305.02605
    (``coverage``).
    """
    config = config or PPOConfig()
    check_instance("opponent", opponent, Opponent, "an Opponent")
    if config.memory:
        raise ValueError(f"config.memory={config.memory}: adversaries have no LSTM; give 0")
    check_instance("agent", agent, Player, "load_player(directory)")
    tables, sees = Tables(environment, config, seed, threads), agent.moments.mean.shape[0]
    if (sees, agent.actions) != (tables.features, tables.actions):
        raise ValueError(
            f"agent sees {sees} features and has {agent.actions} actions, {environment} has "
            f"{tables.features} and {tables.actions}; give the agent's own environment"
        )
    commands = opponent.commands(tables.features, tables.actions)
    learner = init_learner(config, tables.features, commands, None, seed)
    settings = {**tables.facts, "opponent": described(opponent), "victim": agent.digest()}
    run = Run(Path(directory), settings, config, {ADVERSARY: learner})
    learners = run.finish(tables, partial(_turn, config, agent, opponent), progress)
    return Trained(learners[ADVERSARY], run.log)


def _turn(
    config: PPOConfig,
    agent: Player,
    opponent: Opponent,
    matches: dict[str, Match],
    learners: Learners,
    number: int,
) -> tuple[Learners, dict[str, Any]]:
    match = matches[ADVERSARY]
    board = AttackedGames(match.games, agent, opponent, opponent.epsilon, match.victim)
    rollout, adversary = match.play(learners[ADVERSARY], board)
    match.victim = board.memory
    rollout = with_coverage(rollout, opponent.coverage)
    adversary, told = update(config, None, adversary, rollout)
    return {ADVERSARY: adversary}, told | {"return": match.mean_return}
