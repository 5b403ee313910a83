"""Adversaries that are agents themselves: SA-RL and PA-AD."""

from aajr.training.learned._adversaries import DirectedAdversary, LearnedAdversary
from aajr.training.learned._learner import AttackLearner
from aajr.training.learned._network import Attacker
from aajr.training.learned._trainer import (
    AttackerConfig,
    AttackerTrainer,
    Kind,
    load_attacker,
    train_attacker,
)

__all__ = [
    "AttackLearner",
    "Attacker",
    "AttackerConfig",
    "AttackerTrainer",
    "DirectedAdversary",
    "Kind",
    "LearnedAdversary",
    "load_attacker",
    "train_attacker",
]
