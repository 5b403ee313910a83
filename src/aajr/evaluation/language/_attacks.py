"""Attacks on the words of the other party: other words, or other embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from aajr.evaluation.language._tokens import FILLERS, PADDING, attacker_mask

Goal = Literal["untargeted", "targeted"]


@dataclass(frozen=True, eq=False)
class Moved:
    """What the model is shown.

    Attributes:
        embeddings: ``[rows, tokens, d]``.
        changed: words that differ, per row.
        relative: ‖δ‖/‖e‖ over the other party's words, per row.
        loss: of the objective, per row.
    """

    embeddings: Tensor
    changed: Tensor
    relative: Tensor
    loss: Tensor


def objective(model: Any, embeddings: Tensor, reply: Tensor, goal: Goal) -> Tensor:
    """What the attack maximises: -log p(own clean reply), or log p(harmful reply), ``[rows]``.

    Args:
        model: a causal language model.
        embeddings: of the prompts, ``[rows, tokens, d]``.
        reply: ids ``[rows, words]``, padded.
        goal: of the attack.
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
    """Greedy coordinate gradient over the other party's words, replaced by other such words.

    The gradient ranks all swaps; the best ``candidates`` are evaluated exactly and the best one
    kept, so the loss never falls. Restarts begin at random words.

    Attributes:
        goal: of the objective.
        budget: most words that may differ from the true ones.
        rounds: of swaps.
        candidates: swaps evaluated in a round.
        restarts: random starts besides the true words.

    Source: Zou et al., 2023, https://arxiv.org/abs/2307.15043; Ebrahimi et al., 2018,
    https://arxiv.org/abs/1712.06751 (HotFlip).
    """

    goal: Goal = "untargeted"
    budget: int = 2
    rounds: int = 4
    candidates: int = 16
    restarts: int = 1

    @torch.no_grad()
    def __call__(self, model: Any, ids: Tensor, reply: Tensor, generator: torch.Generator) -> Moved:
        """Attack prompts ``[rows, tokens]``."""
        table = model.get_input_embeddings().weight
        best, found = ids, objective(model, table[ids], reply, self.goal)
        for start in range(self.restarts + 1):
            words = ids if start == 0 else self._random(ids, generator)
            words, loss = self._climb(model, table, ids, words, reply)
            better = loss > found
            best, found = torch.where(better[:, None], words, best), torch.maximum(loss, found)
        return _moved(table[ids], table[best], ids, best, found)

    def _climb(
        self, model: Any, table: Tensor, ids: Tensor, words: Tensor, reply: Tensor
    ) -> tuple[Tensor, Tensor]:
        loss = objective(model, table[words], reply, self.goal)
        for _ in range(self.rounds):
            _, gradient = _gradient(model, table[words], reply, self.goal)
            slots, fillers = self._ranked(table, ids, words, gradient)
            for slot, filler in zip(slots.T, fillers.T, strict=True):
                other = words.scatter(1, slot[:, None], filler[:, None])
                other = torch.where(self._allowed(ids, other)[:, None], other, words)
                value = objective(model, table[other], reply, self.goal)
                better = value > loss
                if bool(better.any()):
                    words, loss = torch.where(better[:, None], other, words), value.maximum(loss)
        return words, loss

    def _ranked(
        self, table: Tensor, ids: Tensor, words: Tensor, gradient: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Slots and words of the most promising swaps, ``[rows, candidates]``."""
        fillers = torch.tensor(FILLERS, device=ids.device)
        gain = gradient @ table[fillers].T - (gradient * table[words]).sum(-1, keepdim=True)
        gain = gain.masked_fill(~attacker_mask(ids).unsqueeze(-1), -torch.inf)
        full = (words != ids).sum(1) >= self.budget
        gain = gain.masked_fill((full[:, None] & (words == ids)).unsqueeze(-1), -torch.inf)
        flat = gain.flatten(1).topk(self.candidates, dim=1).indices
        return flat // len(fillers), fillers[flat % len(fillers)]

    def _allowed(self, ids: Tensor, words: Tensor) -> Tensor:
        outside = ((words != ids) & ~attacker_mask(ids)).any(1)
        return ((words != ids).sum(1) <= self.budget) & ~outside

    def _random(self, ids: Tensor, generator: torch.Generator) -> Tensor:
        rank = torch.rand(ids.shape, generator=generator).masked_fill(~attacker_mask(ids), -1.0)
        chosen = rank.topk(self.budget, dim=1).indices
        fillers = torch.tensor(FILLERS)
        drawn = fillers[torch.randint(len(FILLERS), chosen.shape, generator=generator)]
        drawn = torch.where(attacker_mask(ids).gather(1, chosen), drawn, ids.gather(1, chosen))
        return ids.scatter(1, chosen, drawn)


@dataclass(frozen=True)
class EmbeddingAscent:
    """Projected gradient ascent on the embeddings of the other party's words.

    ‖δ‖ ≤ ε‖e‖ over these words of a prompt; steps of 2.5 ε‖e‖/K along the unit gradient.

    Attributes:
        radius: ε.
        goal: of the objective.
        steps: K.
        restarts: from random points; the best point seen is kept.

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
        mask = attacker_mask(ids).unsqueeze(-1)
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
    mask = attacker_mask(ids).unsqueeze(-1)
    size = _norm(shown - clean) / _norm(clean * mask).clamp_min(1e-30)
    return Moved(shown, (words != ids).sum(1), size.flatten(), loss)
