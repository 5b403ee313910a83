"""Best of n: many disturbed copies of an order.

Source: Hughes et al., 2024, https://arxiv.org/abs/2412.03556.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from aajr._settings import check_count
from aajr.language.attacks.base import Attempt
from aajr.language.attacks.injections import FORMS, injected
from aajr.language.chats import Chat
from aajr.language.victim import Victim

_SWAPPED, _RAISED, _SHIFTED = 0.6, 0.6, 0.06
"""Chances that the inner letters of a word are shuffled, that a letter changes its case, and that a
character becomes its neighbour in ASCII."""

_MILD = 0.05
"""Chance that a letter changes its case in a mild copy."""


@dataclass(frozen=True)
class BestOfN:
    """Orders in random forms with shuffled letters, changed cases and wrong characters.

    The first half of the attempts disturbs the order; the others change a few cases alone.

    Attributes:
        attempts: n.
    """

    attempts: int = 32

    def __post_init__(self) -> None:
        check_count("attempts", self.attempts)

    def __call__(
        self, victim: Victim, chat: Chat, clean: str, generator: torch.Generator
    ) -> Sequence[Attempt]:
        """The n chats."""
        found = []
        for index in range(self.attempts):
            form = list(FORMS)[_below(len(FORMS), generator)]
            order = disturbed(chat.case.goal, generator, mild=index >= self.attempts / 2)
            found.append(Attempt(injected(victim, chat, form, order)))
        return found


def disturbed(text: str, generator: torch.Generator, *, mild: bool = False) -> str:
    """A copy of a text with shuffled letters, changed cases and wrong characters.

    Args:
        text: the text.
        generator: source of the changes, on the CPU.
        mild: change a few cases alone.
    """
    raised = _MILD if mild else _RAISED
    if not mild:
        words = [_shuffled(word, generator) for word in text.split(" ")]
        text = "".join(_shifted(sign, generator) for sign in " ".join(words))
    return "".join(s.swapcase() if _chance(raised, generator) else s for s in text)


def _shuffled(word: str, generator: torch.Generator) -> str:
    if len(word) < 4 or not _chance(_SWAPPED, generator):
        return word
    inner = torch.randperm(len(word) - 2, generator=generator).tolist()
    return word[0] + "".join(word[1 + i] for i in inner) + word[-1]


def _shifted(sign: str, generator: torch.Generator) -> str:
    if not sign.isascii() or not sign.isprintable() or not _chance(_SHIFTED, generator):
        return sign
    other = chr(ord(sign) + (1 if _chance(0.5, generator) else -1))
    return other if other.isprintable() else sign


def _chance(share: float, generator: torch.Generator) -> bool:
    return bool(torch.rand((), generator=generator) < share)


def _below(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))
