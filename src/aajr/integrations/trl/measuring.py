"""The sensitivity of one answer, by the trainers' finite difference and by differentiation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import jvp

from aajr.geometry import Categorical
from aajr.integrations.trl._attacked import attacked, norms
from aajr.integrations.trl._parts import take_apart
from aajr.integrations.trl._penalties import PENALTIES, AttackedBatch, jacobian_norm, loss_direction
from aajr.integrations.trl._settings import Robustness

__all__ = [
    "AttackedBatch",
    "direction",
    "exact_sensitivity",
    "one_answer",
    "random_sensitivity",
    "sensitivity",
]


def one_answer(
    model: Any, prompt: Sequence[int], answer: Sequence[int], settings: Robustness
) -> AttackedBatch:
    """One attacked prompt with its answer, under the loss of supervised fine-tuning.

    Args:
        model: a causal language model of transformers.
        prompt: its token ids, which the adversary moves.
        answer: token ids of the answer.
        settings: settings of the penalty.
    """
    ids = torch.tensor([[*prompt, *answer]])
    labels = ids.clone()
    labels[:, : len(prompt)] = -100
    arguments = {"input_ids": ids, "labels": labels}

    def loss() -> Tensor:
        return model(**arguments, use_cache=False).loss

    where = attacked(arguments, "prompt", {})
    generator = torch.Generator().manual_seed(0)
    return AttackedBatch(
        take_apart(model), settings, arguments, where, torch.tensor([0]), loss, generator
    )


def direction(batch: AttackedBatch) -> Tensor:
    """v, the unit gradient of the loss, ``[1, tokens, d]``."""
    with torch.enable_grad():
        return loss_direction(batch)


def sensitivity(batch: AttackedBatch, v: Tensor, *, detach: bool = False) -> Tensor:
    """‖J v‖²_F ‖e‖² / T by the adapter's own finite difference.

    Args:
        batch: the result of :func:`one_answer`.
        v: a unit direction, ``[1, tokens, d]``.
        detach: detach the clean pass, so that its part of the gradient is missing.
    """
    return jacobian_norm(batch, v, detach=detach).value


def random_sensitivity(batch: AttackedBatch) -> Tensor:
    """The same as :func:`sensitivity`, along the batch's next random direction."""
    return PENALTIES["random_direction"](batch).value


def exact_sensitivity(batch: AttackedBatch, v: Tensor) -> Tensor:
    """‖J v‖²_F ‖e‖² / T at the embeddings by forward-mode differentiation."""
    embeddings = batch.parts.embedding(batch.arguments["input_ids"])

    def logits(point: Tensor) -> Tensor:
        hidden = batch.parts.decoder(inputs_embeds=point, use_cache=False).last_hidden_state
        return batch.parts.head(hidden[batch.where.scored])

    u, change = jvp(logits, (embeddings,), (v,))[:2]
    size = (change * Categorical().apply(u, change)).sum(-1).mean()
    return size * norms(embeddings, batch.where)[0] ** 2
