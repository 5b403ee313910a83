"""Words, their tokenizer, and a Llama small enough to train in seconds."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

NUMBERS = tuple(str(number) for number in range(21))
HINTS = tuple(f"maybe{number}" for number in range(21))
# fmt: off
CHATTER = (
    "well", "please", "thanks", "really", "today", "friend", "sure", "quite", "maybe",
    "good", "nice", "indeed", "so", "then", "right", "okay", "listen", "honestly",
    "perhaps", "kindly",
)
# fmt: on
OPEN, CLOSE = "<their>", "</their>"
SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>", OPEN, CLOSE)
# fmt: off
TASK_WORDS = (
    "sell", "cost", "round", "offer", "reply", "ask", "refuse", "user", "want", "of",
    "plan", "call", "data", "answer", "price", "stock", "weight", "apple", "pear", "plum",
    "fig",
)
# fmt: on
VOCABULARY = (*SPECIAL, *TASK_WORDS, *NUMBERS, *HINTS, *CHATTER)
INDEX = {word: index for index, word in enumerate(VOCABULARY)}
FILLERS = tuple(INDEX[word] for word in (*HINTS, *CHATTER))
"""Ids of the words that the other party may say."""

PADDING, END = INDEX["<pad>"], INDEX["<eos>"]


def tokenizer() -> Any:
    """Build a word-level tokenizer of transformers in memory."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel(INDEX, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>"}
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", **names)


def tiny_llama(seed: int, *, hidden: int = 64, layers: int = 2, heads: int = 4) -> Any:
    """Build a ``LlamaForCausalLM`` with random weights; the global random state does not change."""
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(VOCABULARY),
                hidden_size=hidden,
                intermediate_size=2 * hidden,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                num_key_value_heads=heads,
                pad_token_id=PADDING,
                eos_token_id=END,
                bos_token_id=None,
                initializer_range=0.1,
            )
        )


def encode(text: str) -> list[int]:
    """Token ids of the words of a text.

    Raises:
        ValueError: a word is unknown.
    """
    unknown = [word for word in text.split() if word not in INDEX]
    if unknown:
        raise ValueError(f"text holds {unknown[0]!r}, which is not in the vocabulary")
    return [INDEX[word] for word in text.split()]


def decode(ids: list[int]) -> str:
    """Text of the words before the end token."""
    return " ".join(VOCABULARY[i] for i in ids[: ids.index(END) if END in ids else len(ids)])


def attacker_mask(ids: Tensor) -> Tensor:
    """Mask of the tokens strictly between ``<their>`` and ``</their>``, ``[rows, tokens]``."""
    opened = (ids == INDEX[OPEN]).cumsum(-1)
    closed = (ids == INDEX[CLOSE]).cumsum(-1)
    return (opened > closed) & (ids != INDEX[OPEN])


def attacked_words(ids: Tensor) -> Tensor:
    """The same mask of prompts that are attacked.

    Raises:
        ValueError: a row in which the other party wrote nothing, which no attack could change.
    """
    mask = attacker_mask(ids)
    if not bool(mask.any(-1).all()):
        raise ValueError(
            "ids has a row without words between <their> and </their>; these attacks are for the "
            "study's own prompts, use aajr.language.attack for other models"
        )
    return mask


def of_call(arguments: Any) -> Tensor:
    """The attacker's mask of a model call, for :class:`aajr.integrations.trl.Robustness`."""
    return attacker_mask(arguments["input_ids"])
