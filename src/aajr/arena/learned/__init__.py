"""Learned adversaries, which are trained agents: SA-RL and PA-AD."""

from aajr.arena.learned._adversaries import DirectedAdversary, LearnedAdversary
from aajr.arena.learned._learner import AttackLearner
from aajr.arena.learned._network import Attacker
from aajr.arena.learned._trainer import (
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
