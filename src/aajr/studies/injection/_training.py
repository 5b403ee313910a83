"""Training by TRL: supervised fine-tuning, and DPO after it for SecAlign."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from aajr._seeds import derive
from aajr.studies._quiet import quietly
from aajr.studies.injection import _cases
from aajr.studies.injection._models import new_model, vocabulary
from aajr.studies.injection._protocol import Method, Protocol, Run

PREFERENCES = "preferences"
"""Name of DPO's cost."""


def train(run: Run, costs: dict[str, float]) -> tuple[Any, Any]:
    """Train a model with a share of the FLOPs that the host needs for ``steps``.

    Args:
        run: the training run; its seed determines weights, data and order.
        costs: mean FLOPs of a step, by method.

    Returns:
        The model in evaluation mode, and its tokenizer.
    """
    method, budget = run.method, run.budget * run.protocol.steps * costs["host"]
    budget *= 0.5 if method.preferences else 1.0
    with tempfile.TemporaryDirectory() as directory, quietly():
        torch.manual_seed(run.seed)
        model, words = new_model(run.protocol.model, run.seed)
        steps = max(1, round(budget / costs[method.name]))
        model = _run(_fine_tuner(run, model, words, Path(directory), steps))
        if method.preferences:
            steps = max(1, round(budget / costs[PREFERENCES]))
            model = _run(_preference_trainer(run, model, words, Path(directory), steps))
    return model.eval(), words


def costs_of(protocol: Protocol) -> dict[str, float]:
    """Mean FLOPs of a step of fine-tuning by method, and of a step of DPO.

    A penalised method's mean is over one interval of the penalty.
    """
    found = {method.name: _cost(protocol, method) for method in protocol.methods}
    for method in protocol.methods:
        if method.preferences:
            found[PREFERENCES] = _cost(protocol, method, preferences=True)
    return found


def _cost(protocol: Protocol, method: Method, *, preferences: bool = False) -> float:
    run, steps = Run(protocol, method, method.candidates[0], 0), protocol.interval
    with tempfile.TemporaryDirectory() as directory, quietly():
        model, words = new_model(protocol.model, 0)
        trainer = _fine_tuner(run, model, words, Path(directory), steps, warmup=0.0)
        if preferences:
            trainer = _preference_trainer(run, trainer.model, words, Path(directory), steps)
        with FlopCounterMode(display=False) as counter:
            trainer.train()
    return counter.get_total_flops() / steps


def _run(trainer: Any) -> Any:
    trainer.train()
    return trainer.model


def _fine_tuner(
    run: Run, model: Any, words: Any, directory: Path, steps: int, warmup: float = 0.1
) -> Any:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    protocol, method = run.protocol, run.method
    share = run.candidate.get("share", method.share)
    tools: dict[str, Any] = {
        "own": lambda: None,
        "augmented": lambda: _cases.augmented(share, vocabulary(words)),
        "injected": lambda: _cases.injected(share),
    }
    rows = _cases.rows(protocol.examples, derive(run.seed, "rows"), tools[method.notes]())
    arguments = SFTConfig(
        learning_rate=protocol.learning_rate * run.candidate.get("learning rate", 1.0),
        neftune_noise_alpha=run.candidate.get("noise"),
        completion_only_loss=True,
        **_common(run, directory, steps),
    )
    return _robust(SFTTrainer, run, warmup)(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=words,
        **_adapters(protocol),
    )


def _preference_trainer(run: Run, model: Any, words: Any, directory: Path, steps: int) -> Any:
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    rows = _cases.preferences(run.protocol.examples, derive(run.seed, PREFERENCES))
    arguments = DPOConfig(
        learning_rate=run.protocol.preference_rate,
        beta=run.candidate["beta"],
        **_common(run, directory, steps),
    )
    adapted = hasattr(model, "peft_config")  # TRL then keeps a copy of the adapters
    return DPOTrainer(
        model=model,
        ref_model=None if adapted else copy.deepcopy(model),
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=words,
    )


def _robust(trainer: Any, run: Run, warmup: float) -> Any:
    from aajr.integrations.trl import Robustness, robustify

    if run.method.settings is None:
        return trainer
    tuned = {name: value for name, value in run.candidate.items() if name != "share"}
    given: dict[str, Any] = {
        **run.method.settings,
        **tuned,
        "attacker": ("tool",),
        "fraction": run.protocol.fraction,
        "interval": run.protocol.interval,
        "warmup": warmup,
        "step": 1e-3 if run.protocol.model == "tiny" else 1e-4,
    }
    robust = robustify(trainer)
    return lambda **host: robust(robustness=Robustness(**given), **host)


def _adapters(protocol: Protocol) -> dict[str, Any]:
    if protocol.model == "tiny":
        return {}
    from peft import LoraConfig

    return {
        "peft_config": LoraConfig(
            r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"
        )
    }


def _common(run: Run, directory: Path, steps: int) -> dict[str, Any]:
    return {
        "output_dir": str(directory),
        "max_steps": steps,
        "per_device_train_batch_size": run.protocol.batch,
        "seed": run.seed,
        "report_to": [],
        "bf16": False,
        "use_cpu": True,
        "disable_tqdm": True,
        "save_strategy": "no",
        "logging_strategy": "no",
        "gradient_checkpointing": False,
    }
