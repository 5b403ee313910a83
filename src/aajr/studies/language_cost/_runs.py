"""Short training runs: does the penalty raise perplexity, and does it lower sensitivity?"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aajr.integrations.trl import Robustness, measuring
from aajr.studies.language_cost._accuracy import scene
from aajr.studies.language_cost._data import pairs
from aajr.studies.language_cost._training import Setup, trainer
from aajr.studies.smollm2 import PROSE

Record = dict[str, Any]
INTERVAL = 8
"""Every 8th step is penalised; the default interval is too long for such short runs."""


def run(setup: Setup, weight: float, steps: int, seed: int, rows: int) -> Record:
    """Train a model, and measure it before and after.

    Args:
        setup: trainer and sizes.
        weight: λ of AAJR; 0 for the host without a penalty.
        steps: number of optimiser steps.
        seed: seed of the data and their order.
        rows: number of held-out pairs.
    """
    robustness = Robustness(weight=weight, warmup=0.0, interval=INTERVAL) if weight > 0 else None
    with tempfile.TemporaryDirectory() as directory:
        torch.manual_seed(seed)
        found = trainer(setup, robustness, Path(directory), steps=steps, seed=seed)
        before = measures(found.model, found.processing_class, rows)
        found.train()
        after = measures(found.model, found.processing_class, rows)
    losses = [entry["loss"] for entry in found.state.log_history if "loss" in entry]
    return {"before": before, "after": after, "losses": losses}


def measures(model: Any, words: Any, rows: int) -> dict[str, float]:
    """Perplexity of held-out answers and of prose; mean sensitivity R along the loss gradient."""
    model.eval()
    held_out, plain = pairs(rows, 777), _plain(model)
    with torch.no_grad():
        answers = [float(scene(plain, words, pair).loss()) for pair in held_out]
        prose = []
        for text in PROSE:
            ids = torch.tensor([words(text).input_ids])
            prose.append(float(plain(input_ids=ids, labels=ids).loss))
        sensitivities = []
        for pair in held_out:
            at = scene(plain, words, pair)
            sensitivities.append(float(measuring.sensitivity(at, measuring.direction(at))))
    return {
        "answers": float(np.exp(np.mean(answers))),
        "prose": float(np.exp(np.mean(prose))),
        "sensitivity": float(np.mean(sensitivities)),
    }


def _plain(model: Any) -> Any:
    """The causal language model inside PEFT's wrapper, with its adapters active."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model
