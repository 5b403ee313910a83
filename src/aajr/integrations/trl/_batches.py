"""The choice of the sequences of a trainer's batch that are penalised."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

Inputs = dict[str, Any]

IGNORED = -100
"""Label of a token that does not belong to an answer."""

BOUNDARIES = (
    "position_ids",
    "cu_seq_lens_q",
    "cu_seq_lens_k",
    "max_length_q",
    "max_length_k",
    "seq_idx",
)
"""Arguments that separate the sequences of a packed row."""


@dataclass(frozen=True, eq=False)
class Choice:
    """Part of a trainer's batch.

    Attributes:
        inputs: inputs of the trainer's loss: whole groups of samples that share a prompt.
        rows: indices of the rows of ``inputs`` that are penalised.
        share: samples in ``inputs``, as a share of the batch's samples.
    """

    inputs: Inputs
    rows: Tensor
    share: float


def is_packed(inputs: Inputs) -> bool:
    """Whether one row holds several sequences, each with positions from 0."""
    positions = inputs.get("position_ids")
    return positions is not None and len(positions) == 1 and "prompt_ids" not in inputs


def choose(
    inputs: Inputs, rows_of_sample: int, fraction: float, generator: torch.Generator
) -> Choice | None:
    """Draw the sequences to penalise; None if none has a gradient.

    Answers to the same prompt (GRPO, RLOO) enter the trainer's loss together, because they share
    one attack; the given share of the rows is penalised. Samples with advantage 0 are not drawn,
    nor, in a batch with labels, samples without an answer.

    Args:
        inputs: the trainer's batch; a packed one is split into its sequences.
        rows_of_sample: 2 if the batch holds all chosen, then all rejected answers; else 1.
        fraction: share of the samples that is drawn, at least one.
        generator: source of the draw.

    Raises:
        ValueError: the batch holds images.
    """
    if inputs.get("pixel_values") is not None:
        raise ValueError("inputs hold pixel_values; only text can be penalised")
    if is_packed(inputs):
        choice = choose(unpacked(inputs), rows_of_sample, fraction, generator)
        return choice and replace(choice, inputs=_trimmed(choice.inputs))
    key = "prompt_ids" if "prompt_ids" in inputs else "input_ids"
    count = len(inputs[key]) // rows_of_sample
    wanted, groups = max(1, round(fraction * count)), _groups(inputs, key, count)
    useful = groups[_has_gradient(inputs, count)]
    taken: list[int] = []
    for group in _shuffled(torch.unique(useful), generator):
        if len(taken) < wanted:
            taken += (groups == group).nonzero().flatten().tolist()
    if not taken:
        return None
    index = torch.tensor(sorted(taken))
    among = _has_gradient(inputs, count)[index].nonzero().flatten()
    drawn = among[torch.randperm(len(among), generator=generator)][:wanted].sort().values
    rows = torch.cat([drawn + part * len(index) for part in range(rows_of_sample)])
    return Choice(_cut(inputs, index, count), rows, len(index) / count)


def _groups(inputs: Inputs, key: str, count: int) -> Tensor:
    if key == "input_ids":
        return torch.arange(count)
    return torch.unique(inputs[key], dim=0, return_inverse=True)[1].cpu()


def _has_gradient(inputs: Inputs, count: int) -> Tensor:
    """Whether a sample has a nonzero advantage or an answer, ``[count]``."""
    advantages, labels = inputs.get("advantages"), inputs.get("labels")
    if advantages is not None:
        return (advantages.reshape(count, -1) != 0).any(1).cpu()
    if labels is not None:
        answered = (labels[:, 1:] != IGNORED).reshape(count, -1).any(1).cpu()
        return answered | ~answered.any()
    return torch.ones(count, dtype=torch.bool)


def _shuffled(values: Tensor, generator: torch.Generator) -> list[int]:
    return values[torch.randperm(len(values), generator=generator)].tolist()


def _cut(inputs: Inputs, index: Tensor, count: int) -> Inputs:
    """The samples of the index; values of the whole batch stay, counts are scaled."""
    found: Inputs = {}
    for name, value in inputs.items():
        if isinstance(value, Tensor) and value.ndim and len(value) in (count, 2 * count):
            parts = len(value) // count
            rows = torch.cat([index + part * count for part in range(parts)])
            found[name] = value[rows.to(value.device)]
        elif isinstance(value, list) and len(value) == count:
            found[name] = [value[i] for i in index.tolist()]
        elif name == "num_items_in_batch":
            found[name] = value * (len(index) / count)
        else:
            found[name] = value
    return found


def unpacked(inputs: Inputs) -> Inputs:
    """The sequences of a packed row as padded rows.

    Padded rows need no kernel for packed attention and no boundaries. In the padding at the end of
    a packed row every token has position 0, so it looks like sequences of one token; these are
    dropped.
    """
    starts = inputs["position_ids"][0] == 0
    starts[0] = True
    sequence = starts.long().cumsum(0) - 1
    lengths = torch.bincount(sequence)
    kept = lengths >= lengths.max().clamp_max(2)
    column = torch.arange(len(sequence), device=sequence.device)
    column = column - (lengths.cumsum(0) - lengths)[sequence]

    def rows(value: Tensor, filling: int) -> Tensor:
        empty = value.new_full((len(lengths), int(lengths.max())), filling)
        return empty.index_put((sequence, column), value[0])[kept]

    found = {name: value for name, value in inputs.items() if name not in BOUNDARIES}
    for name, value in found.items():
        if isinstance(value, Tensor) and value.shape == (1, len(sequence)):
            found[name] = rows(value, IGNORED if name == "labels" else 0)
    found["attention_mask"] = rows(torch.ones_like(sequence)[None], 0)
    if "labels" in found:
        found["labels"] = _with_first_label(found)
    return found


def _with_first_label(inputs: Inputs) -> Tensor:
    """Restore the first label of each sequence, which packing masks, if all others are answers."""
    labels = inputs["labels"].clone()
    answered = (labels != IGNORED) | (inputs["attention_mask"] == 0)
    whole = answered[:, 1:].all(1)
    labels[whole, 0] = inputs["input_ids"][whole, 0]
    return labels


def _trimmed(inputs: Inputs) -> Inputs:
    """The inputs without columns that are padding in all chosen rows."""
    present = inputs["attention_mask"]
    longest = int(present.sum(1).max())
    return {
        name: value[:, :longest]
        if isinstance(value, Tensor) and value.shape == present.shape
        else value
        for name, value in inputs.items()
    }
