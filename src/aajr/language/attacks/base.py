"""What an attack on a chat is: the attempts that it makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from aajr.language.chats import Chat
from aajr.language.victim import Victim

Aim = Literal["goal", "wrong"]
"""What a search makes probable: the answer that the adversary wants, or anything but the answer
that the model gave."""

AIMS: tuple[Aim, ...] = ("goal", "wrong")


@dataclass(frozen=True, eq=False)
class Attempt:
    """One thing that the other party may show to the model.

    Attributes:
        chat: the chat as the other party wrote it.
        embeddings: what the model reads instead of its tokens, ``[tokens, d]``, if anything.
        size: ‖δ‖/‖e‖ over the controlled embeddings; 0 for words.
        gain: by how much a search raised its objective, the mean log p of a token of the answer;
            None for attacks that do not search.
        converged: whether a longer search of an embedding attack found no more; None for others.
    """

    chat: Chat
    embeddings: Tensor | None = None
    size: float = 0.0
    gain: float | None = None
    converged: bool | None = None

    @property
    def shown(self) -> Chat | Tensor:
        """What the model reads."""
        return self.chat if self.embeddings is None else self.embeddings


class Attack(Protocol):
    """A function that returns what the other party may try in a chat."""

    def __call__(
        self, victim: Victim, chat: Chat, clean: str, generator: torch.Generator
    ) -> Sequence[Attempt]:
        """Attack one chat.

        Args:
            victim: the model.
            chat: the chat without an attack.
            clean: the model's answer to it.
            generator: source of all randomness, on the CPU.
        """


@dataclass(frozen=True, eq=False)
class Objective:
    """F = ± the mean log p of an answer's tokens, which a search maximises.

    Attributes:
        reply: token ids of the answer, ``[words]``.
        sign: +1 to make the answer probable, −1 to make it improbable.
    """

    reply: Tensor
    sign: float

    @classmethod
    def of(cls, victim: Victim, chat: Chat, clean: str, aim: Aim) -> Objective:
        """The objective of an aim.

        Raises:
            ValueError: the answer has no tokens.
        """
        wanted = chat.case.target if aim == "goal" else clean
        reply = victim.reply(wanted)
        if not len(reply):
            raise ValueError(
                f"{'target' if aim == 'goal' else 'the answer'} of {chat.case.name!r} is "
                f"{wanted!r}, which has no tokens"
            )
        return cls(reply, 1.0 if aim == "goal" else -1.0)
