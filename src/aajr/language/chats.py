"""What a model reads: a case through the chat template, as text and as tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from aajr.language.cases import Case
from aajr.language.pieces import decoder

_PLACE = "qzplaceqz"
"""Stands for one span while the text around it is found; no template writes it."""


@dataclass(frozen=True, eq=False)
class Chat:
    """A case as a tokenizer's chat template renders it.

    Attributes:
        case: the case.
        tokenizer: a fast tokenizer of transformers with a chat template.
        texts: what the other party writes, one text for each span.
    """

    case: Case
    tokenizer: Any
    texts: tuple[str, ...]

    @classmethod
    def of(cls, case: Case, tokenizer: Any) -> Chat:
        """The case as it stands.

        Raises:
            ValueError: a tokenizer without offsets or template, or a span without a token.
        """
        if not getattr(tokenizer, "is_fast", False):
            raise ValueError(
                f"tokenizer {type(tokenizer).__name__} tells no offsets; load the fast one"
            )
        if not getattr(tokenizer, "chat_template", None):
            raise ValueError("the tokenizer has no chat template; set tokenizer.chat_template")
        chat = cls(case, tokenizer, case.texts)
        if not chat.controlled:
            raise ValueError(
                f"controlled of {case.name!r} covers no whole token; give spans with at least one "
                "word"
            )
        return chat

    def with_texts(self, texts: Sequence[str]) -> Chat:
        """The same case where the other party writes something else."""
        return Chat(self.case, self.tokenizer, tuple(texts))

    def with_last(self, text: str) -> Chat:
        """The same case with another text in the last span."""
        return self.with_texts((*self.texts[:-1], text))

    @cached_property
    def text(self) -> str:
        """The whole prompt."""
        return self._rendered(self.texts)

    @cached_property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """First character of every span in :attr:`text`, and the one after its last.

        Raises:
            ValueError: the template leaves a message out or rewrites it.
        """
        return tuple(self._place(index) for index in range(len(self.texts)))

    @cached_property
    def ids(self) -> list[int]:
        """Token ids of the prompt."""
        return list(self._encoded["input_ids"])

    @cached_property
    def offsets(self) -> list[tuple[int, int]]:
        """First character of every token, and the one after its last."""
        return [(int(a), int(b)) for a, b in self._encoded["offset_mapping"]]

    @cached_property
    def controlled(self) -> list[int]:
        """Places of the tokens that the other party writes."""
        return [place for a, b in self.spans for place in self.within(a, b)]

    def within(self, start: int, end: int) -> list[int]:
        """Places of the tokens whose characters all lie in a part of the text."""
        return [i for i, (a, b) in enumerate(self.offsets) if start <= a < b <= end]

    def rewritten(self, ids: Sequence[int]) -> Chat | None:
        """The chat that is read as these ids, which differ from its own in controlled tokens.

        Returns:
            The chat; None if no text of the other party is read as these tokens.
        """
        texts = []
        for start, end in self.spans:
            own = self.within(start, end)
            if not own:
                texts.append(self.text[start:end])
                continue
            first, last = self.offsets[own[0]][0], self.offsets[own[-1]][1]
            said = self._decode([ids[i] for i in own])
            texts.append(self.text[start:first] + said + self.text[last:end])
        found = self.with_texts(texts)
        return found if found.ids == list(ids) else None

    @cached_property
    def _decode(self) -> Callable[[Sequence[int]], str]:
        return decoder(self.tokenizer)

    @cached_property
    def _encoded(self) -> Any:
        return self.tokenizer(self.text, add_special_tokens=False, return_offsets_mapping=True)

    def _rendered(self, texts: Sequence[str]) -> str:
        tools = None if self.case.tools is None else [dict(tool) for tool in self.case.tools]
        rendered: str = self.tokenizer.apply_chat_template(
            self.case.with_texts(texts), tools=tools, tokenize=False, add_generation_prompt=True
        )
        return rendered

    def _place(self, index: int) -> tuple[int, int]:
        around = self._rendered([*self.texts[:index], _PLACE, *self.texts[index + 1 :]])
        before, place, after = around.partition(_PLACE)
        fits = self.text.startswith(before) and self.text.endswith(after)
        if not place or _PLACE in after or not fits:
            message = self.case.spans[index].message
            raise ValueError(
                f"the chat template does not write message {message} of {self.case.name!r} once "
                "and as it is; use another role, or a template that does"
            )
        return len(before), len(self.text) - len(after)
