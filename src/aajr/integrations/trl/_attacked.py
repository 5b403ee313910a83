"""The tokens that move, and the direction in which they move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from aajr.integrations.trl._batches import IGNORED
from aajr.integrations.trl._outputs import resolved
from aajr.integrations.trl._ranks import ALONE, Ranks
from aajr.integrations.trl._settings import ROLES, Attacker
from aajr.language.roles import Template


@dataclass(frozen=True, eq=False)
class Attacked:
    """The attacked and the scored tokens of one call of the model.

    Attributes:
        mask: tokens that the adversary moves, ``[rows, tokens]``.
        scored: positions whose next token belongs to an answer, ``[rows, tokens]``.
        text: ids of the attacked tokens, -1 elsewhere, ``[rows, tokens]``; rows with the same
            text share the attack.
        tokens: number of tokens without padding.
    """

    mask: Tensor
    scored: Tensor
    text: Tensor
    tokens: int

    @property
    def group(self) -> Tensor:
        """Index of the attacked text of every row, ``[rows]``."""
        return torch.unique(self.text, dim=0, return_inverse=True)[1]

    @property
    def units(self) -> int:
        """Number of sequences."""
        return len(self.mask)

    def rows(self, index: Tensor) -> Attacked:
        """Some of the rows."""
        index = index.to(self.mask.device)
        return Attacked(self.mask[index], self.scored[index], self.text[index], self.tokens)

    def unattacked(self) -> Attacked:
        """The same rows with no token attacked."""
        return replace(self, mask=torch.zeros_like(self.mask), text=torch.full_like(self.text, -1))


def attacked(
    arguments: Mapping[str, Any],
    attacker: Attacker,
    inputs: Mapping[str, Any],
    padding: int | None = None,
    template: Template | None = None,
) -> Attacked:
    """Compute the masks of a call of the model.

    Args:
        arguments: arguments of the model's call.
        attacker: which tokens move.
        inputs: the trainer's batch; its tool mask says which tokens tools returned.
        padding: id of the padding token, for reward models.
        template: the chat template, if roles are needed; then only the assistant's turns are
            answers.

    Raises:
        ValueError: no token ids, a mask of the wrong shape, tools without a mask or a template.
    """
    ids = arguments.get("input_ids")
    if ids is None:
        raise ValueError("the trainer calls the model without input_ids; pass token ids")
    present = torch.ones_like(ids, dtype=torch.bool)
    if arguments.get("attention_mask") is not None:
        present = arguments["attention_mask"].bool()
    spoken = None if template is None else template.masks(ids)
    labels = arguments.get("labels")
    if labels is None:
        answered, scored = _after_common_prefix(ids), _last(ids, padding)
    else:
        answered = (labels != IGNORED) & _not_tools(inputs, labels)
        if spoken is not None and "prompt_ids" not in inputs:
            answered &= spoken["assistant"]
        scored = torch.cat([answered[:, 1:], torch.zeros_like(answered[:, :1])], 1)
    if spoken is None:
        mask = _mask(attacker, arguments, inputs, answered) & present
    else:
        mask = _words_of(attacker, spoken) & ~answered & present
    text = torch.where(mask, ids, -1)
    return Attacked(mask, scored, text, int(present.sum()))


def all_answered(arguments: Mapping[str, Any]) -> bool:
    """Whether every token of the batch is an answer, so that there is no prompt."""
    labels, present = arguments.get("labels"), arguments.get("attention_mask")
    if labels is None:
        return False
    answered = (labels != IGNORED) if present is None else (labels != IGNORED) | (present == 0)
    return bool(answered.all())


def _after_common_prefix(ids: Tensor) -> Tensor:
    """The answers of a reward model's pairs: rows of chosen, then of rejected answers."""
    chosen, rejected = ids.chunk(2)
    prompt = (chosen == rejected).long().cumprod(-1).bool()
    return ~torch.cat([prompt, prompt])


def _last(ids: Tensor, padding: int | None) -> Tensor:
    """Mask of the last token of every row, where a reward model reads its score."""
    place = torch.arange(ids.shape[1], device=ids.device)
    held = place if padding is None else torch.where(ids != padding, place, 0)
    return place == held.expand(ids.shape).amax(-1, keepdim=True)


def _words_of(attacker: Attacker, spoken: Mapping[str, Tensor]) -> Tensor:
    """The words of the attacker's roles; those of users and tools for ``prompt``."""
    roles = ROLES if attacker == "prompt" else ("tool",)
    roles = attacker if isinstance(attacker, tuple) else roles
    return torch.stack([spoken[role] for role in roles]).any(0)


def _mask(
    attacker: Attacker, arguments: Mapping[str, Any], inputs: Mapping[str, Any], answered: Tensor
) -> Tensor:
    if attacker == "prompt":
        return ~answered
    if attacker == "all":
        return torch.ones_like(answered)
    if attacker == "tools":
        return _tools(inputs, answered)
    mask = attacker(arguments) if callable(attacker) else answered
    if not isinstance(mask, Tensor) or mask.shape != answered.shape:
        found = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(
            f"attacker returned {found}; give a mask [rows, tokens], {tuple(answered.shape)}"
        )
    return mask.bool()


def _tools(inputs: Mapping[str, Any], answered: Tensor) -> Tensor:
    if inputs.get("tool_mask") is None:
        raise ValueError(
            "attacker='tools' but the batch has no tool_mask, and no chat template was read; train "
            "with tools, or use 'prompt'"
        )
    return ~_not_tools(inputs, answered)


def _not_tools(inputs: Mapping[str, Any], like: Tensor) -> Tensor:
    """Mask of all tokens except those that tools returned in completions, ``[rows, tokens]``."""
    own, found = inputs.get("tool_mask"), torch.ones_like(like, dtype=torch.bool)
    if own is not None:
        found[:, -own.shape[1] :] = own.bool()
    return found


def norms(value: Tensor, where: Attacked) -> Tensor:
    """Frobenius norm of every sequence's attacked rows: ``[rows, tokens, d]`` to ``[rows]``."""
    total = (resolved(value).square().sum(-1) * where.mask).sum(-1)
    return total.clamp_min(torch.finfo(total.dtype).tiny).sqrt()


def directions(gradient: Tensor, where: Attacked, ranks: Ranks = ALONE) -> Tensor:
    """Unit directions of the attack on every sequence, ``[rows, tokens, d]``; zero stays zero.

    The gradients of rows with the same attacked text are first added over all processes, because
    they share one attack. If each row were normalised alone, the weights and signs of their
    advantages would be lost.
    """
    gradient = resolved(gradient) * where.mask.unsqueeze(-1)
    group = where.group
    gradient = torch.zeros_like(gradient).index_add(0, group, gradient)[group]
    return directions_of_rows(ranks.added(gradient, where.text), where)


def random_directions(
    latent: Tensor, where: Attacked, generator: torch.Generator, ranks: Ranks = ALONE
) -> Tensor:
    """Uniform random unit directions, the same for rows with the same attacked text."""
    noise = torch.randn(latent.shape, generator=generator).to(latent.device)
    return directions_of_rows(ranks.added(noise[where.group], where.text), where)


def directions_of_rows(value: Tensor, where: Attacked) -> Tensor:
    """Unit directions ``[rows, tokens, d]``: each sequence is normalised alone."""
    value = resolved(value) * where.mask.unsqueeze(-1)
    size = norms(value, where)[:, None, None]
    return torch.where(size > 1e-30, value / size.clamp_min(1e-30), 0.0)


def moved(latent: Tensor, direction: Tensor, radius: float, where: Attacked) -> Tensor:
    """h + ε‖h‖ v; the gradient flows through ‖h‖, or larger embeddings would pay less."""
    size = norms(latent, where)[:, None, None]
    return latent + (radius * size * direction).to(latent.dtype)


def sum_over_sequences(value: Tensor, where: Attacked, active: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of the active sequences' means over answer tokens, and the number of these sequences."""
    row = where.scored.nonzero()[:, 0]
    zeros = value.new_zeros(where.units)
    total = zeros.index_add(0, row, value)
    count = zeros.index_add(0, row, torch.ones_like(value))
    active = active & (count > 0)
    return (total / count.clamp_min(1))[active].sum(), active.sum()
