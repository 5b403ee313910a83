"""Robust fine-tuning in TRL: a seller that reads a buyer's words is trained, then attacked.

pip install 'aajr[language]'
python examples/trl_sft.py --steps 400 --weight 1
"""

from __future__ import annotations

import argparse
import tempfile

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from aajr.integrations.trl import Robustness, robustify
from aajr.studies.language import (
    EmbeddingAscent,
    Negotiation,
    WordSearch,
    attacker_mask,
    play,
    tiny_llama,
    tokenizer,
)


def main() -> None:
    """Train with the penalty, then play clean and attacked episodes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--weight", type=float, default=1.0)
    arguments = parser.parse_args()
    task, model = Negotiation(), tiny_llama(seed=0)
    trainer = robustify(SFTTrainer)(
        model,
        SFTConfig(
            tempfile.mkdtemp(),
            max_steps=arguments.steps,
            per_device_train_batch_size=64,
            learning_rate=3e-3,
            bf16=False,
            report_to=[],
            save_strategy="no",
            logging_steps=50,
        ),
        train_dataset=Dataset.from_list(task.examples(8000, seed=1)),
        processing_class=tokenizer(),
        robustness=Robustness(
            weight=arguments.weight,
            attacker=lambda call: attacker_mask(call["input_ids"]),  # tokens that the buyer writes
            fraction=0.25,
            interval=2,
        ),
    )
    trainer.train()
    model = trainer.model.cpu()
    for name, attack in (
        ("clean", None),
        ("two of the buyer's words changed", WordSearch()),
        ("embeddings moved by 0.3 of their norm", EmbeddingAscent(0.3)),
    ):
        played = play(model, task, episodes=100, seed=2, attack=attack)
        print(f"{name}: {', '.join(f'{k} {v:.2f}' for k, v in played.scores.items())}")


if __name__ == "__main__":
    main()
