"""Attacks on the words of the other party: they replace words or perturb embeddings.

They are not adversaries of the arena, because the arena's agents map features in a ball to one
action. Here the objective is the probability of a whole reply of up to four words, and words do not
form a ball.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from aajr.studies.language._tokens import FILLERS, PADDING, attacked_words

Goal = Literal["untargeted", "targeted"]


@dataclass(frozen=True, eq=False)
class Moved:
    """Attacked prompts.

    Attributes:
        embeddings: embeddings that the model reads, ``[rows, tokens, d]``.
        changed: number of changed words, ``[rows]``.
        relative: ‖δ‖/‖e‖ over the other party's words, ``[rows]``.
        loss: value of the objective, ``[rows]``.
    """

    embeddings: Tensor
    changed: Tensor
    relative: Tensor
    loss: Tensor


def objective(model: Any, embeddings: Tensor, reply: Tensor, goal: Goal) -> Tensor:
    """Compute the attack's objective, ``[rows]``.

    It is -log p(the model's clean reply) if untargeted, and log p(the harmful reply) if targeted.

    Args:
        model: a causal language model.
        embeddings: embeddings of the prompts, ``[rows, tokens, d]``.
        reply: token ids of the reply, padded, ``[rows, words]``.
        goal: goal of the attack.
    """
    shown = torch.cat([embeddings, model.get_input_embeddings()(reply)], 1)
    logits = model(inputs_embeds=shown, use_cache=False).logits[:, embeddings.shape[1] - 1 : -1]
    log_p = logits.log_softmax(-1).gather(-1, reply.unsqueeze(-1)).squeeze(-1)
    total = (log_p * (reply != PADDING)).sum(-1)
    return -total if goal == "untargeted" else total


def _gradient(model: Any, embeddings: Tensor, reply: Tensor, goal: Goal) -> tuple[Tensor, Tensor]:
    point = embeddings.detach().requires_grad_()
    with torch.enable_grad():
        loss = objective(model, point, reply, goal)
        (gradient,) = torch.autograd.grad(loss.sum(), point)
    return loss.detach(), gradient


@dataclass(frozen=True)
class WordSearch:
    """Beam search that replaces words of the other party by other words of its vocabulary.

    The vocabulary has only 41 words, so the loss of every swap of one word is computed exactly. The
    ``beam`` best texts of a prompt are kept; the next swap changes one more word in each of them,
    until ``budget`` words differ. The best text seen is returned, so the loss never falls. If the
    beam holds all texts, the search is exhaustive.

    Attributes:
        goal: goal of the attack.
        budget: largest number of words that may differ from the true ones.
        beam: number of texts kept after each swap.

    Source: Ebrahimi et al., 2018, https://arxiv.org/abs/1712.06751 (HotFlip's beam search, which
    estimates the losses from gradients).
    """

    goal: Goal = "untargeted"
    budget: int = 2
    beam: int = 4

    @torch.no_grad()
    def __call__(self, model: Any, ids: Tensor, reply: Tensor, generator: torch.Generator) -> Moved:
        """Attack prompts ``[rows, tokens]`` with the same attacked slots; nothing is random."""
        table, slots = model.get_input_embeddings().weight, attacked_words(ids)[0].nonzero()[:, 0]
        best, found = ids, objective(model, table[ids], reply, self.goal)
        kept = ids.unsqueeze(1)
        for _ in range(min(self.budget, len(slots))):
            texts, losses = self._swapped(model, table, ids, kept, slots, reply)
            top, index = losses.topk(min(self.beam, losses.shape[1]), dim=1)
            kept = texts.gather(1, index.unsqueeze(-1).expand(-1, -1, ids.shape[1]))
            better = top[:, 0] > found
            best = torch.where(better[:, None], kept[:, 0], best)
            found = torch.maximum(top[:, 0], found)
        return _moved(table[ids], table[best], ids, best, found)

    def _swapped(
        self, model: Any, table: Tensor, ids: Tensor, kept: Tensor, slots: Tensor, reply: Tensor
    ) -> tuple[Tensor, Tensor]:
        """All texts one swap away from the kept ones ``[rows, beam, tokens]``, and their losses."""
        texts, losses = [], []
        for text, slot in itertools.product(kept.unbind(1), slots.tolist()):
            for filler in FILLERS:
                other = text.clone()
                other[:, slot] = filler
                loss = objective(model, table[other], reply, self.goal)
                new = (text[:, slot] == ids[:, slot]) & (filler != ids[:, slot])
                texts.append(other)
                losses.append(loss.masked_fill(~new, -torch.inf))
        return torch.stack(texts, 1), torch.stack(losses, 1)


@dataclass(frozen=True)
class EmbeddingAscent:
    """Projected gradient ascent on the embeddings of the other party's words.

    The constraint is ‖δ‖ ≤ ε‖e‖ over these words of a prompt. Each step has length 2.5 ε‖e‖/K along
    the unit gradient.

    Attributes:
        radius: ε.
        goal: goal of the attack.
        steps: K, the number of steps.
        restarts: number of restarts from random points; the best point seen is kept.

    Source: Madry et al., 2018, https://arxiv.org/abs/1706.06083.
    """

    radius: float
    goal: Goal = "untargeted"
    steps: int = 10
    restarts: int = 2

    @torch.no_grad()
    def __call__(self, model: Any, ids: Tensor, reply: Tensor, generator: torch.Generator) -> Moved:
        """Attack prompts ``[rows, tokens]``."""
        clean = model.get_input_embeddings().weight[ids]
        mask = attacked_words(ids).unsqueeze(-1)
        reach = self.radius * _norm(clean * mask)
        best, found = clean, objective(model, clean, reply, self.goal)
        for _ in range(self.restarts):
            noise = torch.randn(clean.shape, generator=generator) * mask
            delta = reach * noise / _norm(noise).clamp_min(1e-30)
            for step in range(self.steps + 1):
                loss, gradient = _gradient(model, clean + delta, reply, self.goal)
                better = loss > found
                best = torch.where(better[:, None, None], clean + delta, best)
                found = torch.maximum(loss, found)
                if step < self.steps:
                    along = gradient * mask / _norm(gradient * mask).clamp_min(1e-30)
                    delta = delta + 2.5 / self.steps * reach * along
                    delta = delta * (reach / _norm(delta).clamp_min(1e-30)).clamp_max(1.0)
        return _moved(clean, best, ids, ids, found)


def _norm(value: Tensor) -> Tensor:
    return value.flatten(1).norm(dim=1)[:, None, None]


def _moved(clean: Tensor, shown: Tensor, ids: Tensor, words: Tensor, loss: Tensor) -> Moved:
    mask = attacked_words(ids).unsqueeze(-1)
    size = _norm(shown - clean) / _norm(clean * mask).clamp_min(1e-30)
    return Moved(shown, (words != ids).sum(1), size.flatten(), loss)
