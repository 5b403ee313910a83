"""Searches over words: whole words of the other party swapped, or a suffix behind an order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from aajr._settings import check_choice, check_count
from aajr.language.attacks.base import AIMS, Aim, Attempt, Objective
from aajr.language.attacks.injections import FORMS, injected
from aajr.language.attacks.search import Problem, TokenSearch
from aajr.language.chats import Chat
from aajr.language.victim import Victim


@dataclass(frozen=True, eq=False)
class WordSwaps:
    """Swaps whole words of the other party for words or numbers of the whole vocabulary.

    Only words that are one token are swapped, for words that are one token; the text stays as
    readable as such words are.

    Attributes:
        aim: what is made probable.
        search: the search; its budget is the number of words that may differ.
    """

    aim: Aim = "wrong"
    search: TokenSearch = field(default_factory=lambda: TokenSearch(steps=10, budget=4))

    def __post_init__(self) -> None:
        check_choice("aim", self.aim, AIMS)

    def __call__(
        self, victim: Victim, chat: Chat, clean: str, generator: torch.Generator
    ) -> Sequence[Attempt]:
        """The chat with the swapped words."""
        slots = whole_words(victim, chat)
        objective = Objective.of(victim, chat, clean, self.aim)
        found = self.search(
            Problem(victim, chat, slots, _words(victim, chat, slots), objective), generator
        )
        return [Attempt(found.chat, gain=found.gain)]


@dataclass(frozen=True, eq=False)
class Suffix:
    """Greedy coordinate gradient: tokens behind an order that make the wanted answer probable.

    The order has the form of :class:`Injection` under which the wanted answer is most probable.

    Attributes:
        length: number of tokens.
        readable: whether tokens hold printable ASCII alone.
        search: the search.
    """

    length: int = 20
    readable: bool = True
    search: TokenSearch = field(default_factory=TokenSearch)

    def __post_init__(self) -> None:
        check_count("length", self.length)

    def __call__(
        self, victim: Victim, chat: Chat, clean: str, generator: torch.Generator
    ) -> Sequence[Attempt]:
        """The chat with the order and the suffix."""
        objective = Objective.of(victim, chat, clean, "goal")
        base = _most_probable(victim, chat, objective)
        start = base.with_last(base.texts[-1] + " !" * self.length)
        begin, end = start.spans[-1]
        slots = start.within(begin + len(base.texts[-1]), end)
        allowed = _printable(victim, self.readable).expand(len(slots), -1)
        found = self.search(Problem(victim, start, slots, allowed, objective), generator)
        return [Attempt(found.chat, gain=found.gain)]


def whole_words(victim: Victim, chat: Chat) -> list[int]:
    """Places of the controlled tokens that are one whole word or number.

    Raises:
        ValueError: there are none.
    """
    found = []
    for place in chat.controlled:
        start, end = chat.offsets[place]
        said = chat.text[start:end].strip()
        before = chat.text[start - 1 : start] if chat.text[start : start + 1].strip() else ""
        after = chat.text[end : end + 1]
        if _WORD.fullmatch(said) and not (_inside(before) or _inside(after)):
            found.append(place)
    if not found:
        raise ValueError(
            f"controlled of {chat.case.name!r} holds no whole word that is one token; give longer "
            "spans"
        )
    return found


_WORD = re.compile(r"[^\W_]+")


def _inside(sign: str) -> bool:
    return bool(_WORD.fullmatch(sign))


def _words(victim: Victim, chat: Chat, slots: Sequence[int]) -> Tensor:
    """Words that may stand in each slot, with the space before it that the old one has."""
    spaced = torch.tensor([bool(re.fullmatch(r" [^\W_]+", one)) for one in victim.vocabulary])
    joined = torch.tensor([bool(_WORD.fullmatch(one)) for one in victim.vocabulary])
    starts = [victim.vocabulary[chat.ids[slot]][:1].isspace() for slot in slots]
    return torch.stack([spaced if start else joined for start in starts])


def _printable(victim: Victim, readable: bool) -> Tensor:
    def able(text: str) -> bool:
        return bool(text.strip()) and (not readable or (text.isascii() and text.isprintable()))

    return torch.tensor([able(text) for text in victim.vocabulary])


def _most_probable(victim: Victim, chat: Chat, objective: Objective) -> Chat:
    """The injection of greatest probability of the wanted answer."""
    chats = [injected(victim, chat, form) for form in FORMS]
    with torch.no_grad():
        values = [
            float(victim.log_probability(victim.embedded([one.ids]), objective.reply))
            for one in chats
        ]
    return chats[values.index(max(values))]
