"""Accuracy of the finite difference, compared with forward-mode differentiation on a real model."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from aajr.integrations.trl import Robustness, measuring
from aajr.studies.language_cost._data import pairs
from aajr.studies.language_cost._training import model_and_tokenizer

Record = dict[str, Any]
STEPS = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4)
SKETCHES = (16, 64, 256, None)


def scene(model: Any, words: Any, pair: dict[str, str], **settings: Any) -> measuring.AttackedBatch:
    """A batch of one prompt with its right answer, with the loss of fine-tuning."""
    prompt, answer = (words(pair[name]).input_ids for name in ("prompt", "right"))
    return measuring.one_answer(model, prompt, answer, Robustness(weight=1.0, **settings))


def differences(tiny: bool, rows: int) -> Record:
    """Measure the errors of the finite difference.

    Returns:
        ``steps``: error of the value and cosine of the gradient, by step. ``detached``: cosine of
        the gradient without the clean branch. ``bfloat16``: errors of the value in bfloat16.
    """
    model, words = model_and_tokenizer(tiny)
    watched = _watched(model)
    found: Record = {"steps": {f"{h:g}": [] for h in STEPS}, "detached": [], "bfloat16": []}
    for pair in pairs(rows, 1):
        at = scene(model, words, pair)
        v = measuring.direction(at)
        with sdpa_kernel(SDPBackend.MATH):
            exact = measuring.exact_sensitivity(at, v)
            truth = _gradient(exact, watched)
        for step in STEPS:
            value = measuring.sensitivity(scene(model, words, pair, step=step), v)
            found["steps"][f"{step:g}"].append(
                {
                    "error": abs(float(value.detach() / exact.detach()) - 1),
                    "cosine": _cosine(_gradient(value, watched), truth),
                }
            )
        cut = measuring.sensitivity(at, v, detach=True)
        found["detached"].append(_cosine(_gradient(cut, watched), truth))
        found["bfloat16"].append(_in_bfloat16(model, words, pair, v, float(exact.detach())))
    return found


def sensitivity(tiny: bool, rows: int, layers: tuple[int, ...], draws: int) -> Record:
    """R along the loss gradient over the mean R along random directions, by layer and row."""
    model, words = model_and_tokenizer(tiny)
    found: Record = {}
    for layer in layers:
        ratios = []
        for pair in pairs(rows, 2):
            at = scene(model, words, pair, layer=layer)
            with torch.no_grad():
                aligned = float(measuring.sensitivity(at, measuring.direction(at)))
                random = [float(measuring.random_sensitivity(at)) for _ in range(draws)]
            ratios.append(aligned / float(np.mean(random)))
        found[str(layer)] = ratios
    return found


def sketches(tiny: bool, rows: int) -> Record:
    """Compare the ``hidden`` metric, with and without sketch, with the exact Fisher metric."""
    model, words = model_and_tokenizer(tiny)
    watched = _watched(model)
    fisher: list[float] = []
    hidden: dict[str, list[float]] = {str(m): [] for m in SKETCHES}
    cosines: dict[str, list[float]] = {str(m): [] for m in SKETCHES}
    for index, pair in enumerate(pairs(rows, 3)):
        at = scene(model, words, pair)
        v = measuring.direction(at)
        exact = measuring.sensitivity(at, v)
        truth = _gradient(exact, watched) if index < 4 else None
        fisher.append(float(exact.detach()))
        for m in SKETCHES:
            value = measuring.sensitivity(scene(model, words, pair, metric="hidden", sketch=m), v)
            hidden[str(m)].append(float(value.detach()))
            if truth is not None:
                cosines[str(m)].append(_cosine(_gradient(value, watched), truth))
    ranks = {m: float(spearmanr(fisher, values).statistic) for m, values in hidden.items()}
    return {"rank_correlation": ranks, "gradient_cosine": cosines}


def _in_bfloat16(model: Any, words: Any, pair: dict[str, str], v: Tensor, exact: float) -> Record:
    """Relative errors of the sensitivity, by step, if the model's weights are bfloat16."""
    coarse = type(model)(model.config).to(torch.bfloat16)
    coarse.load_state_dict(model.state_dict())
    found: Record = {}
    with torch.no_grad():
        for step in (1e-2, 1e-3):
            value = float(measuring.sensitivity(scene(coarse, words, pair, step=step), v))
            found[f"{step:g}"] = abs(value / exact - 1)
    return found


def _watched(model: Any) -> list[Tensor]:
    layers = model.model.layers
    chosen = [layers[0], layers[len(layers) // 2], layers[-1]]
    return [
        w for block in chosen for w in (block.self_attn.q_proj.weight, block.mlp.down_proj.weight)
    ]


def _gradient(value: Tensor, watched: list[Tensor]) -> Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, watched)])


def _cosine(first: Tensor, second: Tensor) -> float:
    return float(torch.cosine_similarity(first.double(), second.double(), dim=0))
