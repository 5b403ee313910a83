"""Recipes of robust training, carried out by :func:`aajr.jax.ppo.train`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from aajr.integrations.hosts import need
from aajr.integrations.recipes import MethodName, Recipe

need("jax", extra="mujoco")

from aajr.jax import (  # noqa: E402
    AAJR,
    Ball,
    DiagonalGaussian,
    Divergence,
    Frobenius,
    Minimax,
    ProjectedGradientAscent,
    RandomDirection,
    StateAdversarial,
)
from aajr.jax.ppo import PPOConfig, Progress, Ramp, Trained, train  # noqa: E402

__all__ = ["config_of", "robust_of", "train_recipe"]

METRIC = DiagonalGaussian()
PENALTIES: dict[MethodName, Any] = {
    "aajr": AAJR,
    "global": Frobenius,
    "random_direction": RandomDirection,
    "sa": StateAdversarial,
}
RISE = 0.75
"""Share of the run in which ε rises from 0."""


def train_recipe(recipe: Recipe, directory: Path, progress: Progress | None = None) -> Trained:
    """Train an agent, or go on with a killed run; :meth:`aajr.arena.Agent.from_ppo` loads it.

    PPO has the defaults of :class:`aajr.jax.ppo.PPOConfig`. The adversary maximises the divergence
    of the policy by three steps; ε rises from 0 over the first three quarters of the run.

    Args:
        recipe: what to train, and how; ``env`` may be ``envpool:`` before a name of EnvPool.
        directory: of the agent.
        progress: see :data:`aajr.jax.ppo.Progress`.

    Raises:
        ValueError: an unknown environment, one whose observations or actions are not flat arrays of
            numbers; the directory holds a run with other settings.
        FloatingPointError: weights became NaN; the last checkpoint holds the last good ones.
    """
    robust = robust_of(recipe)
    return train(
        recipe.env, directory, config_of(recipe), robust, seed=recipe.seed, progress=progress
    )


def config_of(recipe: Recipe) -> PPOConfig:
    """Settings of PPO for a recipe."""
    updates = recipe.parts * recipe.length // recipe.rows
    return PPOConfig(
        steps=updates * recipe.rows,
        environments=recipe.environments,
        rollout=recipe.rows // recipe.environments,
        segment=math.ceil(updates / recipe.parts),
    )


def robust_of(recipe: Recipe) -> Minimax | None:
    """Adversary and penalty of a recipe; None for plain PPO."""
    if recipe.method == "plain":
        return None
    search = ProjectedGradientAscent(Ball(recipe.norm, recipe.eps), Divergence(METRIC), steps=3)
    made = PENALTIES.get(recipe.method)
    return Minimax(
        search,
        None if made is None else made(metric=METRIC),
        recipe.penalty_weight,
        "adversarial" if made is None else "clean",
        epsilon=Ramp(recipe.eps, RISE * config_of(recipe).minibatch_updates),
    )
