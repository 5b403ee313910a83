"""Search for tokens that raise an objective, by gradients and exact evaluations.

Sources: Ebrahimi et al., HotFlip, 2018, https://arxiv.org/abs/1712.06751; Zou et al., GCG, 2023,
https://arxiv.org/abs/2307.15043; Zhao et al., probe sampling, 2024,
https://arxiv.org/abs/2403.01251; Zhang and Wei, the best text is kept, 2024,
https://arxiv.org/abs/2410.15362.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from aajr._settings import check_count
from aajr.language.attacks.base import Objective
from aajr.language.chats import Chat
from aajr.language.victim import Victim

Ids = tuple[int, ...]
Swap = tuple[tuple[int, int], ...]
"""Pairs of a slot's index and its new token."""


@dataclass(frozen=True, eq=False)
class Problem:
    """Tokens of a chat that may be replaced, and the objective.

    Attributes:
        victim: the model.
        chat: the chat at the beginning.
        slots: places of the tokens that may be replaced, rising.
        allowed: tokens that may stand in each slot, ``[slots, vocabulary]``.
        objective: F, which is maximised.
    """

    victim: Victim
    chat: Chat
    slots: Sequence[int]
    allowed: Tensor
    objective: Objective

    def __post_init__(self) -> None:
        if not len(self.slots) or not bool(self.allowed.any(1).all()):
            raise ValueError(
                f"a slot of {self.chat.case.name!r} has no token that may stand there, or there is "
                "no slot; give a span with a whole word, or allow other tokens"
            )

    def values(self, texts: Sequence[Ids]) -> Tensor:
        """F of each text, ``[texts]``, on the CPU."""
        found = []
        with torch.no_grad():
            for start in range(0, len(texts), self.victim.batch):
                rest = [text[self._begin :] for text in texts[start : start + self.victim.batch]]
                found.append(self._value(self.victim.embedded(rest)))
        return torch.cat(found).double().cpu()

    def gradient(self, text: Ids) -> Tensor:
        """Rate of F by every token in every slot, ``[slots, vocabulary]``, on the CPU."""
        point = self.victim.embedded([text[self._begin :]]).requires_grad_()
        with torch.enable_grad():
            (rate,) = torch.autograd.grad(self._value(point).sum(), point)
        table = self.victim.table.weight.detach()[: self.allowed.shape[1]]
        along = rate[0, [slot - self._begin for slot in self.slots]] @ table.T
        return along.to(torch.promote_types(along.dtype, torch.float32)).cpu()

    def read(self, text: Ids) -> Chat | None:
        """The chat that is read as this text; None if there is none."""
        return self.chat.rewritten(text)

    @property
    def _begin(self) -> int:
        return self.slots[0] if self._prefix is not None else 0

    @cached_property
    def _prefix(self) -> Any:
        return self.victim.prefix(self.chat.ids[: self.slots[0]])

    def _value(self, embeddings: Tensor) -> Tensor:
        log_p = self.victim.log_probability(embeddings, self.objective.reply, self._prefix)
        return self.objective.sign * log_p


@dataclass(frozen=True)
class Found:
    """The result of a search.

    Attributes:
        chat: the chat of greatest F.
        gain: F there minus F at the beginning, at least 0.
    """

    chat: Chat
    gain: float


@dataclass(frozen=True, eq=False)
class TokenSearch:
    """Greedy coordinate gradient: swap tokens that the gradient proposes, keep what raises F most.

    In every step ``width`` texts are drawn: each swaps ``swaps`` random slots for tokens among the
    ``top`` of greatest rate. Texts that are not read as these tokens are left out. If there are no
    more swaps of one token than ``width``, all are tried.

    Attributes:
        steps: number of steps.
        width: number of texts that are evaluated in a step.
        top: number of proposed tokens for each slot.
        swaps: number of tokens that a text swaps.
        budget: largest number of tokens that differ from the beginning; None for all.
        buffer: number of first texts, all but one with random tokens in the slots; the search
            begins at the best. With 0 every step moves to its best text even if F falls.
        draft: a smaller model with the same tokens, which chooses the texts that the victim
            evaluates (probe sampling); None to evaluate all.
    """

    steps: int = 50
    width: int = 64
    top: int = 64
    swaps: int = 1
    budget: int | None = None
    buffer: int = 1
    draft: Victim | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "width", "top", "swaps"):
            check_count(name, getattr(self, name))
        check_count("buffer", self.buffer, minimum=0)
        if self.budget is not None:
            check_count("budget", self.budget)

    def __call__(self, problem: Problem, generator: torch.Generator) -> Found:
        """Search; the beginning is returned if nothing better is found."""
        first = tuple(problem.chat.ids)
        texts = [first, *self._random(problem, first, generator)]
        values = problem.values(texts)
        beginning, place = float(values[0]), int(values.argmax())
        here, height = texts[place], float(values[place])
        best, top = here, height
        for _ in range(self.steps):
            texts = self._drawn(problem, first, here, generator)
            if not texts:
                continue
            text, value = self._best(problem, texts, generator)
            if value > height or self.buffer == 0:
                here, height = text, value
            if value > top:
                best, top = text, value
        chat = problem.chat if best == first else problem.read(best)
        return Found(chat or problem.chat, max(0.0, top - beginning))

    def _random(self, problem: Problem, first: Ids, generator: torch.Generator) -> list[Ids]:
        """Readable texts with random tokens in all slots; fewer than asked for if few are found."""
        found: list[Ids] = []
        if self.budget is not None:
            return found
        for _ in range(8 * max(0, self.buffer - 1)):
            tokens = torch.multinomial(problem.allowed.double(), 1, generator=generator)
            text = _swapped(first, problem.slots, tokens.flatten().tolist())
            if len(found) < self.buffer - 1 and problem.read(text) is not None:
                found.append(text)
        return found

    def _drawn(
        self, problem: Problem, first: Ids, here: Ids, generator: torch.Generator
    ) -> list[Ids]:
        """Different readable texts near ``here``, within the budget."""
        rate = problem.gradient(here).masked_fill(~problem.allowed, -torch.inf)
        top = rate.topk(min(self.top, rate.shape[1])).indices
        able = [
            [int(token) for token in row if allowed[token]]
            for row, allowed in zip(top, problem.allowed, strict=True)
        ]
        drawn: dict[Ids, None] = {}
        for swap in self._swaps(able, generator):
            text = list(here)
            for slot, token in swap:
                text[problem.slots[slot]] = token
            drawn.setdefault(tuple(text))
        limit = len(first) if self.budget is None else self.budget
        return [
            text
            for text in drawn
            if text != here
            and sum(a != b for a, b in zip(text, first, strict=True)) <= limit
            and problem.read(text) is not None
        ]

    def _swaps(self, able: Sequence[Sequence[int]], generator: torch.Generator) -> list[Swap]:
        """Swaps of slots for tokens: all of one token if they are few, else random ones."""
        slots = [index for index, tokens in enumerate(able) if tokens]
        single: list[Swap] = [((slot, token),) for slot in slots for token in able[slot]]
        if self.swaps == 1 and len(single) <= self.width:
            return single
        found = []
        for _ in range(self.width):
            chosen = torch.randperm(len(slots), generator=generator)[: self.swaps].tolist()
            pairs = [(slots[i], able[slots[i]]) for i in chosen]
            found.append(
                tuple(
                    (slot, tokens[int(torch.randint(len(tokens), (), generator=generator))])
                    for slot, tokens in pairs
                )
            )
        return found

    def _best(
        self, problem: Problem, texts: list[Ids], generator: torch.Generator
    ) -> tuple[Ids, float]:
        if self.draft is not None and len(texts) >= 32:
            texts = _probed(problem, replace(problem, victim=self.draft), texts, generator)
        values = problem.values(texts)
        place = int(values.argmax())
        return texts[place], float(values[place])


def _probed(
    problem: Problem, draft: Problem, texts: list[Ids], generator: torch.Generator
) -> list[Ids]:
    """A random sixteenth of the texts, and those that the draft prefers; fewer if it agrees."""
    from scipy.stats import spearmanr

    order = torch.randperm(len(texts), generator=generator).tolist()
    probe = order[: max(8, len(texts) // 16)]
    values = draft.values(texts)
    agreement = spearmanr(problem.values([texts[i] for i in probe]), values[probe]).statistic
    agreement = 0.0 if math.isnan(agreement) else agreement
    count = round((1 - agreement) / 2 * len(texts) / 8)
    preferred = values.topk(max(1, count)).indices.tolist()
    return [texts[i] for i in dict.fromkeys([*probe, *preferred])]


def _swapped(text: Ids, slots: Sequence[int], tokens: Sequence[int]) -> Ids:
    new = dict(zip(slots, tokens, strict=True))
    return tuple(new.get(place, old) for place, old in enumerate(text))
