"""Minimax multi-agent PPO on TorchRL's parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aajr._lazy import lazy_names

if TYPE_CHECKING:
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

_NAMES = {
    "checkpoints": ("CheckpointError", "load_checkpoint", "save_checkpoint"),
    "config": ("AdversaryConfig", "PenaltyConfig", "PPOConfig", "TrainConfig"),
    "models": ("Actor",),
    "threats": ("Threat", "attackable_features"),
    "trainer": ("Trainer", "TrainingDivergedError", "load_actor"),
}

if not TYPE_CHECKING:  # or else every attribute would seem to exist
    __getattr__, __dir__ = lazy_names(__name__, _NAMES)
