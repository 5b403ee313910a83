"""Minimax multi-agent PPO, built from TorchRL's components."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aajr._lazy import lazy_names

if TYPE_CHECKING:
    from aajr.hide_and_seek.training.config import AdversaryConfig, PenaltyConfig, TrainConfig
    from aajr.hide_and_seek.training.trainer import Trainer, TrainingDivergedError, load_actor

__all__ = [
    "AdversaryConfig",
    "PenaltyConfig",
    "TrainConfig",
    "Trainer",
    "TrainingDivergedError",
    "load_actor",
]

if not TYPE_CHECKING:  # type checkers would otherwise accept any attribute
    __getattr__, __dir__ = lazy_names(__name__)
