"""Play batched episodes of a task, with and without attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from aajr.studies.language._attacks import EmbeddingAscent, WordSearch
from aajr.studies.language._tasks import Task
from aajr.studies.language._tokens import END, PADDING, attacker_mask, decode, encode

Attack = WordSearch | EmbeddingAscent
WORDS = 4
"""Length of the longest reply in tokens, including the end token."""


@dataclass(frozen=True)
class Played:
    """Results of finished episodes.

    Attributes:
        scores: scores of the task.
        changed: largest number of changed words in a prompt.
        relative: largest ‖δ‖/‖e‖ of a prompt.
        flipped: share of the attacked decisions whose reply changed.
    """

    scores: dict[str, float]
    changed: int
    relative: float
    flipped: float


@torch.no_grad()
def replies(model: Any, embeddings: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Generate replies: token ids ``[rows, 4]``, padded after the end token.

    Args:
        model: a causal language model.
        embeddings: embeddings of the prompts, ``[rows, tokens, d]``.
        generator: random source of sampled replies; None for greedy replies.
    """
    found: list[Tensor] = []
    ended = torch.zeros(len(embeddings), dtype=torch.bool, device=embeddings.device)
    for _ in range(WORDS):
        logits = model(inputs_embeds=embeddings, use_cache=False).logits[:, -1]
        word = logits.argmax(-1)
        if generator is not None:
            word = torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(-1)
        word = torch.where(ended, PADDING, word)
        found.append(word)
        ended = ended | (word == END)
        following = model.get_input_embeddings()(word).unsqueeze(1)
        embeddings = torch.cat([embeddings, following], 1)
    return torch.stack(found, 1)


def play(
    model: Any, task: Task[Any], episodes: int, seed: int, attack: Attack | None = None
) -> Played:
    """Play episodes to their end; the attack perturbs the other party's words at every decision."""
    model.eval()
    states, generator = task.start(episodes, seed), torch.Generator().manual_seed(seed)
    changed, relative, flips = 0, 0.0, [0, 0]
    while running := [i for i, state in enumerate(states) if not state.finished]:
        ids = torch.tensor([encode(states[i].shown) for i in running])
        shown = model.get_input_embeddings()(ids).detach()
        answers = replies(model, shown)
        if attack is not None and bool(attacker_mask(ids).any()):
            target = answers
            if attack.goal == "targeted":
                target = _padded([task.harmful(states[i]) for i in running])
            moved = attack(model, ids, target, generator)
            clean, answers = answers, replies(model, moved.embeddings)
            changed = max(changed, int(moved.changed.max()))
            relative = max(relative, float(moved.relative.max()))
            flips[0] += int((clean != answers).any(1).sum())
            flips[1] += len(ids)
        for index, answer in zip(running, answers.tolist(), strict=True):
            states[index] = task.step(states[index], decode(answer))
    return Played(task.scores(states), changed, relative, flips[0] / max(1, flips[1]))


def _padded(texts: list[str]) -> Tensor:
    rows = [[*encode(text), END] for text in texts]
    return torch.tensor([row + [PADDING] * (WORDS - len(row)) for row in rows])
