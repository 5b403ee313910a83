"""TRL's trainers on SmolLM2, or on a tiny Llama instead."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from aajr.integrations.trl import Robustness, robustify
from aajr.studies.language_cost._data import pairs
from aajr.studies.smollm2 import copy_of_model, tokenizer

HostName = Literal["sft", "dpo", "grpo"]


@dataclass(frozen=True)
class Setup:
    """The setup of a training run.

    Attributes:
        host: TRL's trainer.
        lora: whether to train LoRA adapters of rank 8 on queries and values, or else all
            parameters.
        checkpointing: whether to use activation checkpointing.
        batch: rows per batch; pairs for DPO, completions for GRPO.
        tiny: whether a random Llama of two layers replaces SmolLM2.
        learning_rate: learning rate of AdamW.
    """

    host: HostName = "sft"
    lora: bool = True
    checkpointing: bool = True
    batch: int = 16
    tiny: bool = False
    learning_rate: float = 2e-4

    @property
    def title(self) -> str:
        """Name in tables."""
        tuned = "LoRA" if self.lora else "full"
        return f"{self.host.upper()}, {tuned}" + (", checkpointing" if self.checkpointing else "")


def model_and_tokenizer(tiny: bool) -> tuple[Any, Any]:
    """A new copy of the model, and the tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    if not tiny:
        return copy_of_model()
    words = tokenizer()
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    ids = {"pad_token_id": words.pad_token_id, "eos_token_id": words.eos_token_id}
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return LlamaForCausalLM(LlamaConfig(vocab_size=len(words), **sizes, **heads, **ids)), words


def trainer(
    setup: Setup, robustness: Robustness | None, directory: Path, *, steps: int, seed: int = 0
) -> Any:
    """Build TRL's trainer, made robust if ``robustness`` is given."""
    from datasets import Dataset
    from peft import LoraConfig

    kind, settings, extra, rows = _host(setup, seed)
    model, words = model_and_tokenizer(setup.tiny)
    given: dict[str, Any] = {
        "model": model,
        "args": settings(
            output_dir=str(directory),
            max_steps=steps,
            per_device_train_batch_size=setup.batch,
            learning_rate=setup.learning_rate,
            gradient_checkpointing=setup.checkpointing,
            seed=seed,
            report_to=[],
            bf16=False,
            use_cpu=True,
            disable_tqdm=True,
            save_strategy="no",
            logging_steps=1,
            **extra,
        ),
        "train_dataset": Dataset.from_list(rows),
        "processing_class": words,
    }
    if setup.host == "grpo":
        given["reward_funcs"] = _overlap
    elif setup.host == "dpo" and not setup.lora:
        given["ref_model"] = model_and_tokenizer(setup.tiny)[0]
    if setup.lora:
        given["peft_config"] = LoraConfig(
            r=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"
        )
    if robustness is None:
        return kind(**given)
    return robustify(kind)(robustness=robustness, **given)


def _host(setup: Setup, seed: int) -> tuple[Any, Any, dict[str, Any], list[dict[str, Any]]]:
    import trl

    drawn = pairs(256, seed)
    if setup.host == "sft":
        rows = [{"prompt": p["prompt"], "completion": p["right"]} for p in drawn]
        return trl.SFTTrainer, trl.SFTConfig, {}, rows
    if setup.host == "dpo":
        rows = [
            {"prompt": p["prompt"], "chosen": p["right"], "rejected": p["wrong"]} for p in drawn
        ]
        return trl.DPOTrainer, trl.DPOConfig, {}, rows
    rows = [{"prompt": p["prompt"], "right": p["right"]} for p in drawn]
    extra = {"num_generations": min(8, setup.batch), "max_completion_length": 12, "beta": 0.0}
    return trl.GRPOTrainer, trl.GRPOConfig, extra, rows


def _overlap(completions: list[str], right: list[str], **_: Any) -> list[float]:
    """Reward: share of the right answer's words that occur in the completion."""
    wanted = [set(answer.strip(".").split()) for answer in right]
    return [
        len(words & set(text.replace(".", " ").split())) / len(words)
        for text, words in zip(completions, wanted, strict=True)
    ]
