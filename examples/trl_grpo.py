"""Robust GRPO in TRL: an assistant that calls a tool and reads its output, trained by rewards.

A completion is a whole episode: the call, the tool's output, which contains a note by a stranger,
and the answer. The model is fine-tuned first, because GRPO needs one that is sometimes right.

pip install 'aajr[language]'
python examples/trl_grpo.py --fine-tuning 400 --steps 30 --weight 1
"""

from __future__ import annotations

import argparse
import tempfile
from typing import Any

from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from aajr.integrations.trl import Robustness, robustify
from aajr.studies.language import (
    EmbeddingAscent,
    Tools,
    WordSearch,
    attacker_mask,
    openings,
    play,
    returned,
    rollouts,
    tiny_llama,
    tokenizer,
)


def main() -> None:
    """Fine-tune, train by rewards with the penalty, then play clean and attacked episodes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fine-tuning", type=int, default=400)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--weight", type=float, default=1.0)
    arguments = parser.parse_args()
    task, model = Tools(), tiny_llama(seed=0)
    common: dict[str, Any] = {
        "per_device_train_batch_size": 64,
        "bf16": False,
        "report_to": [],
        "save_strategy": "no",
        "logging_steps": 10,
    }
    SFTTrainer(
        model,
        SFTConfig(
            tempfile.mkdtemp(), max_steps=arguments.fine_tuning, learning_rate=3e-3, **common
        ),
        train_dataset=Dataset.from_list(task.examples(8000, seed=1)),
        processing_class=tokenizer(),
    ).train()

    episodes: dict[str, Any] = {"episodes": 8000, "seed": 2}
    trainer = robustify(GRPOTrainer)(
        model,
        returned,
        GRPOConfig(
            tempfile.mkdtemp(),
            max_steps=arguments.steps,
            learning_rate=1e-4,
            num_generations=8,
            **common,
        ),
        train_dataset=Dataset.from_list(openings(task, **episodes)),
        rollout_func=rollouts(task, **episodes),
        processing_class=tokenizer(),
        robustness=Robustness(
            weight=arguments.weight,
            attacker=lambda call: attacker_mask(call["input_ids"]),  # tokens of the stranger's note
        ),
    )
    trainer.train()
    model = trainer.model.cpu()
    for name, attack in (
        ("clean", None),
        ("two words of the note changed", WordSearch()),
        ("embeddings moved by 0.3 of their norm", EmbeddingAscent(0.3)),
    ):
        played = play(model, task, episodes=100, seed=3, attack=attack)
        print(f"{name}: {', '.join(f'{k} {v:.2f}' for k, v in played.scores.items())}")


if __name__ == "__main__":
    main()
