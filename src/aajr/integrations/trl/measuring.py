"""The sensitivity of one answer, measured as the trainers penalise it and by differentiation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import jvp

from aajr.geometry import Categorical
from aajr.integrations.trl._attacked import attacked, norms
from aajr.integrations.trl._parts import take_apart
from aajr.integrations.trl._penalties import PENALTIES, Scene, jacobian_norm, loss_direction
from aajr.integrations.trl._settings import Robustness

__all__ = [
    "Scene",
    "direction",
    "exact_sensitivity",
    "one_answer",
    "random_sensitivity",
    "sensitivity",
]


def one_answer(
    model: Any, prompt: Sequence[int], answer: Sequence[int], settings: Robustness
) -> Scene:
    """One attacked prompt with its answer, under the loss of supervised fine-tuning.

    Args:
        model: a causal language model of transformers.
        prompt: its token ids, which the adversary moves.
        answer: token ids of the answer.
        settings: of the penalty.
    """
    ids = torch.tensor([[*prompt, *answer]])
    labels = ids.clone()
    labels[:, : len(prompt)] = -100
    arguments = {"input_ids": ids, "labels": labels}

    def loss() -> Tensor:
        return model(**arguments, use_cache=False).loss

    where = attacked(arguments, "prompt", {})
    generator = torch.Generator().manual_seed(0)
    return Scene(take_apart(model), settings, arguments, where, torch.tensor([0]), loss, generator)


def direction(scene: Scene) -> Tensor:
    """v, the unit gradient of the loss, ``[1, tokens, d]``."""
    with torch.enable_grad():
        return loss_direction(scene)


def sensitivity(scene: Scene, v: Tensor, *, detach: bool = False) -> Tensor:
    """‖J v‖²_F ‖e‖² / T by the adapter's own finite difference.

    Args:
        scene: from :func:`one_answer`.
        v: a unit direction, ``[1, tokens, d]``.
        detach: cut the clean branch off, so that its part of the gradient is missing.
    """
    return jacobian_norm(scene, v, detach=detach).value


def random_sensitivity(scene: Scene) -> Tensor:
    """The same along the scene's next random direction."""
    return PENALTIES["random_direction"](scene).value


def exact_sensitivity(scene: Scene, v: Tensor) -> Tensor:
    """‖J v‖²_F ‖e‖² / T at the embeddings by forward-mode differentiation."""
    embeddings = scene.parts.embedding(scene.arguments["input_ids"])

    def logits(point: Tensor) -> Tensor:
        hidden = scene.parts.decoder(inputs_embeds=point, use_cache=False).last_hidden_state
        return scene.parts.head(hidden[scene.where.scored])

    u, change = jvp(logits, (embeddings,), (v,))[:2]
    size = (change * Categorical().apply(u, change)).sum(-1).mean()
    return size * norms(embeddings, scene.where)[0] ** 2
