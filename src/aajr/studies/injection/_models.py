"""The two models: a Llama trained from scratch, and SmolLM2-135M-Instruct with adapters."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any, Literal

import torch

from aajr.language import FORMS, PLAIN
from aajr.studies.injection._cases import ITEMS, KEYS, NOTES, WORDS, order
from aajr.studies.smollm2 import copy_of_model

ModelName = Literal["tiny", "smollm2"]

TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_MARKS = ("<|end|>", "<|pad|>", "<|system|>", "<|user|>", "<|tool|>", "<|assistant|>")


def new_model(name: ModelName, seed: int) -> tuple[Any, Any]:
    """A new model to be trained, in float32, and its tokenizer."""
    if name == "tiny":
        return tiny_llama(seed), tokenizer()
    return copy_of_model()


@cache
def tokenizer() -> Any:
    """The tiny model's tokenizer: byte pairs in which every word of the chats is one token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2000,
        special_tokens=list(_MARKS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    raw.train_from_iterator(_corpus(), trainer)
    found = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<|end|>", pad_token="<|pad|>", bos_token=None
    )
    found.chat_template = TEMPLATE
    return found


def tiny_llama(seed: int) -> Any:
    """A ``LlamaForCausalLM`` with random weights; the global random state does not change."""
    from transformers import LlamaConfig, LlamaForCausalLM

    words = tokenizer()
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(words),
                hidden_size=64,
                intermediate_size=128,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=4,
                pad_token_id=words.pad_token_id,
                eos_token_id=words.eos_token_id,
                bos_token_id=None,
                initializer_range=0.1,
            )
        )


def vocabulary(words: Any) -> tuple[str, ...]:
    """All whole words of a tokenizer, for notes of random words."""
    found = (words.decode([index]).strip() for index in range(len(words)))
    return tuple(sorted({word for word in found if word.isascii() and word.isalnum()}))


def _corpus() -> list[str]:
    """Every sentence of the chats and of the orders, with all words in each place, twice."""
    facts = [f"{key} {value}" for key, value in itertools.product(KEYS, range(10, 100))]
    asked = [f"What is the {key} of the {item}?" for item, key in itertools.product(ITEMS, KEYS)]
    said = [form(order(word)) for form in PLAIN.values() for word in WORDS]
    answers = [*facts, *WORDS]
    notes = [f"note: {note}" for note in NOTES]
    return 2 * [*facts, *asked, *said, *answers, *notes, *FORMS]
