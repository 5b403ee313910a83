"""One training run of SB3's PPO, robust or plain, in segments that can be resumed."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from aajr.adversaries import Divergence, ProjectedGradientAscent
from aajr.geometry import Ball, DiagonalGaussian
from aajr.integrations.sb3 import (
    Normalisation,
    RobustPPO,
    epsilon_ramp,
    learn_in_segments,
    save_agent,
)
from aajr.penalties import AAJR, Frobenius, Penalty, RandomDirection, StateAdversarial
from aajr.schedules import Schedule
from aajr.studies.mujoco._protocol import Method, Protocol


def train(
    protocol: Protocol,
    method: Method,
    value: float,
    seed: int,
    directory: Path,
    normalisation: Normalisation | None,
) -> None:
    """Train one agent and save it.

    Every segment starts new episodes with its own random seed. A run that was killed and resumed
    therefore gives the same agent as an uninterrupted run.

    Args:
        protocol: the study.
        method: how to train.
        value: value of the method's tuned hyperparameter.
        seed: seed of the run.
        directory: directory of the agent; it also holds the checkpoint during training.
        normalisation: fixed statistics of the observations; None for running statistics.
    """
    agent = _agent(protocol, method, value, seed, normalisation)
    checkpoint = directory / "checkpoint.safetensors"
    for _ in learn_in_segments(agent, protocol.steps, protocol.segments, seed, checkpoint):
        pass
    save_agent(directory, agent)
    checkpoint.unlink()


def ramp(protocol: Protocol, radius: float) -> Schedule:
    """ε as a function of the minibatch update.

    It is constant within a rollout and grows linearly between the two shares ``protocol.ramp``.
    """
    rows = protocol.rollout * protocol.environments
    updates = protocol.epochs * math.ceil(rows / protocol.batch)
    return epsilon_ramp(radius, protocol.steps, rows, updates, protocol.ramp)


def _penalty(protocol: Protocol, name: str | None) -> Penalty | None:
    metric = DiagonalGaussian()
    if name is None:
        return None
    if name == "sa":
        return StateAdversarial(metric=metric)
    kinds: dict[str, Any] = {
        "aajr": AAJR,
        "frobenius": Frobenius,
        "random_direction": RandomDirection,
    }
    penalty: Penalty = kinds[name](metric=metric, fraction=protocol.fraction, interval=1)
    return penalty


def _agent(
    protocol: Protocol,
    method: Method,
    value: float,
    seed: int,
    normalisation: Normalisation | None,
) -> RobustPPO:
    def environment() -> Any:
        return gymnasium.make(protocol.environment)

    env = VecNormalize(DummyVecEnv([environment] * protocol.environments), gamma=protocol.discount)
    if normalisation is not None:
        env.obs_rms = _Fixed(normalisation)
    factor = value if method.knob == "learning rate" else 1.0
    robust: dict[str, Any] = {}
    if method.placement is not None:
        # every robust method maximises the change of the action distribution
        ball, objective = Ball("linf", protocol.epsilon), Divergence(DiagonalGaussian())
        radius = value if method.knob == "training radius" else 1.0
        robust = {
            "adversary": ProjectedGradientAscent(ball, objective, steps=protocol.inner_steps),
            "epsilon": ramp(protocol, radius * protocol.epsilon),
            "penalty": _penalty(protocol, method.penalty),
            "penalty_weight": value if method.knob == "weight" else 0.0,
            "placement": method.placement,
        }
    return RobustPPO(
        "MlpPolicy",
        env,
        n_steps=protocol.rollout,
        batch_size=protocol.batch,
        n_epochs=protocol.epochs,
        learning_rate=factor * protocol.learning_rate,
        gamma=protocol.discount,
        policy_kwargs={"net_arch": {"pi": [64, 64], "vf": [64, 64]}},
        seed=seed,
        device="cpu",
        **robust,
    )


class _Fixed(RunningMeanStd):  # type: ignore[misc]
    """Fixed statistics in place of SB3's running ones."""

    def __init__(self, normalisation: Normalisation) -> None:
        super().__init__(shape=tuple(normalisation.mean.shape))
        self.mean = normalisation.mean.numpy().copy()
        self.var = normalisation.variance.numpy().copy()

    def update(self, arr: np.ndarray) -> None:
        """Do nothing."""


def reference_method(protocol: Protocol) -> Method:
    """Vanilla training without tuning; its agent gives the observation statistics for all."""
    return dataclasses.replace(protocol.methods[0], candidates=(1.0,))
