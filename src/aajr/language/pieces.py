"""The text of single tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def decoder(tokenizer: Any) -> Callable[[Sequence[int]], str]:
    """Function from tokens to their text, decoded after another token to keep leading spaces."""
    first = tokenizer("a", add_special_tokens=False).input_ids[:1]

    def decode(ids: Sequence[int]) -> str:
        text: str = tokenizer.decode(
            [*first, *ids], skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text

    known = len(decode(()))
    return lambda ids: decode(ids)[known:]
