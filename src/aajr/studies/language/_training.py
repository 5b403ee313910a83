"""Fine-tuning, then GRPO, of a tiny Llama by TRL."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from aajr.studies._quiet import quietly
from aajr.studies.language._protocol import Candidate, Method, Protocol
from aajr.studies.language._rollouts import openings, returned, rollouts
from aajr.studies.language._tasks import TASKS, Task
from aajr.studies.language._tokens import of_call, tiny_llama, tokenizer


def train(
    protocol: Protocol,
    task: Task[Any],
    method: Method,
    candidate: Candidate,
    seed: int,
    costs: dict[str, float],
) -> Any:
    """A model trained by one method, at the FLOPs of the host's ``steps`` and ``group_steps``.

    Args:
        protocol: the study.
        task: what it learns.
        method: how.
        candidate: of the method.
        seed: of weights, data and order.
        costs: FLOPs of a mean step, by method.
    """
    share = costs["host"] / costs[method.name]
    with tempfile.TemporaryDirectory() as directory, quietly():
        torch.manual_seed(seed)
        model = tiny_llama(seed)
        fine = fine_tuner(
            protocol, task, method, candidate, seed, model, round(protocol.steps * share)
        )
        fine(Path(directory)).train()
        grouped = max(1, round(protocol.group_steps * share))
        _group_trainer(
            protocol, task, method, candidate, seed, model, grouped, Path(directory)
        ).train()
    return model


def cost(protocol: Protocol, method: Method) -> float:
    """FLOPs of a step of fine-tuning, the mean over one interval."""
    task = TASKS[protocol.tasks[0]]
    with tempfile.TemporaryDirectory() as directory, quietly():
        make = fine_tuner(
            protocol, task, method, method.candidates[0], 0, tiny_llama(0), protocol.interval
        )
        trainer = make(Path(directory), warmup=0.0)
        with FlopCounterMode(display=False) as counter:
            trainer.train()
    return counter.get_total_flops() / protocol.interval


def fine_tuner(
    protocol: Protocol,
    task: Task[Any],
    method: Method,
    candidate: Candidate,
    seed: int,
    model: Any,
    steps: int,
) -> Any:
    """A function from a directory to the trainer."""

    def make(directory: Path, warmup: float = 0.1) -> Any:
        from datasets import Dataset
        from trl import SFTConfig, SFTTrainer

        rows = task.examples(protocol.examples, 1_000_003 + seed)
        data = Dataset.from_list(rows)
        arguments = SFTConfig(
            learning_rate=protocol.learning_rate * candidate.get("learning rate", 1.0),
            neftune_noise_alpha=candidate.get("noise"),
            **_common(protocol, directory, steps, seed),
        )
        given = {"model": model, "args": arguments, "train_dataset": data}
        return _robust(SFTTrainer, protocol, method, candidate, warmup)(
            **given, processing_class=tokenizer()
        )

    return make


def _group_trainer(
    protocol: Protocol,
    task: Task[Any],
    method: Method,
    candidate: Candidate,
    seed: int,
    model: Any,
    steps: int,
    directory: Path,
) -> Any:
    """GRPO on whole episodes."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    drawn = protocol.examples, 2_000_003 + seed
    arguments = GRPOConfig(
        learning_rate=protocol.group_learning_rate,
        num_generations=protocol.generations,
        temperature=1.0,
        beta=0.0,
        **_common(protocol, directory, steps, seed),
    )
    return _robust(GRPOTrainer, protocol, method, candidate, 0.0)(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(openings(task, *drawn)),
        reward_funcs=returned,
        rollout_func=rollouts(task, *drawn),
        processing_class=tokenizer(),
    )


def _robust(
    trainer: Any, protocol: Protocol, method: Method, candidate: Candidate, warmup: float
) -> Any:
    from aajr.integrations.trl import Robustness, robustify

    if method.settings is None:
        return trainer
    given: dict[str, Any] = {
        **method.settings,
        **candidate,
        "attacker": of_call,
        "fraction": protocol.fraction,
        "interval": protocol.interval,
        "warmup": warmup,
        "step": 1e-3,
    }
    robust = robustify(trainer)
    return lambda **host: robust(robustness=Robustness(**given), **host)


def _common(protocol: Protocol, directory: Path, steps: int, seed: int) -> dict[str, Any]:
    return {
        "output_dir": str(directory),
        "max_steps": steps,
        "per_device_train_batch_size": protocol.batch,
        "seed": seed,
        "report_to": [],
        "bf16": False,
        "use_cpu": True,
        "disable_tqdm": True,
        "save_strategy": "no",
        "logging_strategy": "no",
        "gradient_checkpointing": False,
    }
