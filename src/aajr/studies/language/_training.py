"""Train a tiny Llama with TRL: supervised fine-tuning, then GRPO."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from aajr._seeds import derive
from aajr.studies._quiet import quietly
from aajr.studies.language._protocol import Method, Protocol, Run
from aajr.studies.language._rollouts import openings, returned, rollouts
from aajr.studies.language._tasks import TASKS
from aajr.studies.language._tokens import of_call, tiny_llama, tokenizer


def train(run: Run, costs: dict[str, float]) -> Any:
    """Train a model with the FLOPs that the host needs for ``steps`` and ``group_steps``.

    Args:
        run: the training run; its seed determines weights, data and order.
        costs: mean FLOPs of a step, by method.
    """
    share, protocol = costs["host"] / costs[run.method.name], run.protocol
    with tempfile.TemporaryDirectory() as directory, quietly():
        torch.manual_seed(run.seed)
        model = tiny_llama(run.seed)
        common = _common(run, Path(directory))
        _fine_tuner(run, model, common | {"max_steps": round(protocol.steps * share)}).train()
        grouped = max(1, round(protocol.group_steps * share))
        _group_trainer(run, model, common | {"max_steps": grouped}).train()
    return model


def cost(protocol: Protocol, method: Method) -> float:
    """Mean FLOPs of a step of fine-tuning, over one interval of the penalty."""
    run = Run(protocol, protocol.tasks[0], method, method.candidates[0], 0)
    with tempfile.TemporaryDirectory() as directory, quietly():
        common = _common(run, Path(directory)) | {"max_steps": protocol.interval}
        trainer = _fine_tuner(run, tiny_llama(0), common, warmup=0.0)
        with FlopCounterMode(display=False) as counter:
            trainer.train()
    return counter.get_total_flops() / protocol.interval


def _fine_tuner(run: Run, model: Any, common: dict[str, Any], warmup: float = 0.1) -> Any:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rows = TASKS[run.task].examples(run.protocol.examples, derive(run.seed, "examples"))
    arguments = SFTConfig(
        learning_rate=run.protocol.learning_rate * run.candidate.get("learning rate", 1.0),
        neftune_noise_alpha=run.candidate.get("noise"),
        **common,
    )
    return _robust(SFTTrainer, run, warmup)(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer(),
    )


def _group_trainer(run: Run, model: Any, common: dict[str, Any]) -> Any:
    """Build TRL's trainer for GRPO on whole episodes."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    protocol, task = run.protocol, TASKS[run.task]
    drawn = protocol.examples, derive(run.seed, "episodes")
    arguments = GRPOConfig(
        learning_rate=protocol.group_learning_rate,
        num_generations=protocol.generations,
        temperature=1.0,
        beta=0.0,
        **common,
    )
    return _robust(GRPOTrainer, run, 0.0)(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(openings(task, *drawn)),
        reward_funcs=returned,
        rollout_func=rollouts(task, *drawn),
        processing_class=tokenizer(),
    )


def _robust(trainer: Any, run: Run, warmup: float) -> Any:
    from aajr.integrations.trl import Robustness, robustify

    if run.method.settings is None:
        return trainer
    given: dict[str, Any] = {
        **run.method.settings,
        **run.candidate,
        "attacker": of_call,
        "fraction": run.protocol.fraction,
        "interval": run.protocol.interval,
        "warmup": warmup,
        "step": 1e-3,
    }
    robust = robustify(trainer)
    return lambda **host: robust(robustness=Robustness(**given), **host)


def _common(run: Run, directory: Path) -> dict[str, Any]:
    return {
        "output_dir": str(directory),
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
