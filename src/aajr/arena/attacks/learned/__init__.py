"""Learned adversaries, which are trained agents: SA-RL and PA-AD, on a ball or with liars."""

from aajr.arena.attacks.learned._adversaries import (
    DirectedAdversary,
    LearnedAdversary,
    LearnedLiars,
)
from aajr.arena.attacks.learned._learner import AttackLearner
from aajr.arena.attacks.learned._network import Attacker
from aajr.arena.attacks.learned._trainer import (
    AttackerConfig,
    AttackerTrainer,
    Kind,
    build_attack,
    commands_of,
    load_attacker,
    scored_sources,
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
    "LearnedLiars",
    "build_attack",
    "commands_of",
    "load_attacker",
    "scored_sources",
    "train_attacker",
]
