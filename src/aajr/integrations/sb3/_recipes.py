"""A recipe of robust training, carried out with PPO."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from aajr.arena.environments.gymnasium import GymnasiumEnvironment
from aajr.geometry import Ball
from aajr.integrations.recipes import MethodName, Recipe
from aajr.integrations.sb3._algorithms import RobustPPO
from aajr.integrations.sb3._files import save_agent
from aajr.integrations.sb3._segments import epsilon_ramp, learn_in_segments
from aajr.penalties import AAJR, Frobenius, Penalty, RandomDirection, StateAdversarial

_PENALTIES: dict[MethodName, type[Penalty]] = {
    "aajr": AAJR,
    "global": Frobenius,
    "random_direction": RandomDirection,
    "sa": StateAdversarial,
}
_BATCH, _EPOCHS = 64, 10
"""Of PPO: rows of a minibatch, passes over a rollout."""

_RISE = (0.25, 0.75)
"""ε rises between these two shares of the run."""


def train_recipe(recipe: Recipe, directory: Path) -> Iterator[int]:
    """Train an agent, or go on with a killed run, and save it by :func:`save_agent`.

    PPO has the hyperparameters of Stable-Baselines3, with 2048 environment steps for each rollout.
    Observations of floats and rewards are normalised by ``VecNormalize``. The adversary maximises
    the divergence of the policy; ε rises from 0 between a quarter and three quarters of the run.

    Args:
        recipe: what to train, and how.
        directory: of the agent; during training it holds the checkpoint.

    Yields:
        The number of segments that are done, at first and after each of them.

    Raises:
        ValueError: an unknown environment; the directory holds a run with other settings.
        FloatingPointError: weights became NaN; the last checkpoint holds the last good ones.
    """
    agent, facts = _agent(recipe), dataclasses.asdict(recipe)
    checkpoint = directory / "checkpoint.safetensors"
    run = recipe.parts * recipe.length, recipe.parts, recipe.seed, checkpoint
    yield from learn_in_segments(agent, *run, facts)
    save_agent(directory, agent)
    checkpoint.unlink(missing_ok=True)


def _agent(recipe: Recipe) -> RobustPPO:
    env = _environment(recipe)
    image = is_image_space(env.observation_space)
    robust: dict[str, Any] = {}
    if recipe.method != "plain":
        updates = _EPOCHS * math.ceil(recipe.rows / _BATCH)
        steps = recipe.parts * recipe.length
        robust = {
            "adversary": Ball(recipe.norm, recipe.eps),
            "epsilon": epsilon_ramp(recipe.eps, steps, recipe.rows, updates, _RISE),
            "penalty": _PENALTIES.get(recipe.method),
            "penalty_weight": recipe.penalty_weight,
            "placement": "adversarial" if recipe.method == "adversarial" else "clean",
        }
    return RobustPPO(
        "CnnPolicy" if image else "MlpPolicy",
        env,
        n_steps=recipe.rows // recipe.environments,
        batch_size=_BATCH,
        n_epochs=_EPOCHS,
        seed=recipe.seed,
        device="cpu",
        **robust,
    )


def _environment(recipe: Recipe) -> VecEnv:
    make = GymnasiumEnvironment(recipe.env, episodes=1, seed=0).make
    env = DummyVecEnv([make] * recipe.environments)
    space = env.observation_space
    floats = isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating)
    return VecNormalize(env, norm_obs=floats) if floats else env
