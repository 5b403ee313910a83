"""Minimax multi-agent PPO on TorchRL's parts."""

from aajr.training.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from aajr.training.config import AdversaryConfig, PenaltyConfig, PPOConfig, TrainConfig
from aajr.training.models import Actor
from aajr.training.threats import Threat, attackable_features
from aajr.training.trainer import Trainer, TrainingDivergedError, load_actor

__all__ = [
    "Actor",
    "AdversaryConfig",
    "CheckpointError",
    "PPOConfig",
    "PenaltyConfig",
    "Threat",
    "TrainConfig",
    "Trainer",
    "TrainingDivergedError",
    "attackable_features",
    "load_actor",
    "load_checkpoint",
    "save_checkpoint",
]
