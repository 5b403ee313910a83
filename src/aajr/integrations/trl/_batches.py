"""Which sequences of a trainer's batch are penalised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Inputs = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Choice:
    """Part of a trainer's batch.

    Attributes:
        inputs: for the trainer's loss: whole groups of samples that share a prompt.
        rows: those of its rows that are penalised.
        share: samples in ``inputs``, of the batch's.
    """

    inputs: Inputs
    rows: Tensor
    share: float


def is_packed(inputs: Inputs) -> bool:
    """Whether one row holds several sequences, told apart by positions that begin again."""
    positions = inputs.get("position_ids")
    return positions is not None and len(positions) == 1 and "prompt_ids" not in inputs


def choose(
    inputs: Inputs, rows_of_sample: int, fraction: float, generator: torch.Generator
) -> Choice | None:
    """Draw the sequences to penalise; None where none has a gradient.

    Answers to the same prompt (GRPO, RLOO) enter the trainer's loss together, for the attack on
    their prompt is one; of their rows the given share is penalised. Samples without an advantage
    are not drawn.

    Args:
        inputs: the trainer's batch; a packed one is cut between its sequences.
        rows_of_sample: 2 where the batch holds all chosen, then all rejected answers.
        fraction: share of the samples.
        generator: of the draw.

    Raises:
        ValueError: images.
    """
    if inputs.get("pixel_values") is not None:
        raise ValueError("inputs hold pixel_values; only text can be penalised")
    if is_packed(inputs):
        return _choose_packed(inputs, fraction, generator)
    key = "prompt_ids" if "prompt_ids" in inputs else "input_ids"
    count = len(inputs[key]) // rows_of_sample
    wanted, groups = max(1, round(fraction * count)), _groups(inputs, key, count)
    useful = groups[_has_advantage(inputs, count)]
    taken: list[int] = []
    for group in _shuffled(torch.unique(useful), generator):
        if len(taken) < wanted:
            taken += (groups == group).nonzero().flatten().tolist()
    if not taken:
        return None
    index = torch.tensor(sorted(taken))
    among = _has_advantage(inputs, count)[index].nonzero().flatten()
    drawn = among[torch.randperm(len(among), generator=generator)][:wanted].sort().values
    rows = torch.cat([drawn + part * len(index) for part in range(rows_of_sample)])
    return Choice(_cut(inputs, index, count), rows, len(index) / count)


def _groups(inputs: Inputs, key: str, count: int) -> Tensor:
    if key == "input_ids":
        return torch.arange(count)
    return torch.unique(inputs[key], dim=0, return_inverse=True)[1].cpu()


def _has_advantage(inputs: Inputs, count: int) -> Tensor:
    advantages = inputs.get("advantages")
    if advantages is None:
        return torch.ones(count, dtype=torch.bool)
    return (advantages.reshape(count, -1) != 0).any(1).cpu()


def _shuffled(values: Tensor, generator: torch.Generator) -> list[int]:
    return values[torch.randperm(len(values), generator=generator)].tolist()


def _cut(inputs: Inputs, index: Tensor, count: int) -> Inputs:
    """The samples of the index; what belongs to the whole batch stays, counts shrink with it."""
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


def _choose_packed(inputs: Inputs, fraction: float, generator: torch.Generator) -> Choice:
    positions = inputs["position_ids"]
    segments = segments_of(positions)
    count = int(segments.max()) + 1
    wanted = max(1, round(fraction * count))
    drawn = torch.randperm(count, generator=generator)[:wanted].to(segments.device)
    kept = torch.isin(segments[0], drawn)
    cut = {
        name: value[:, kept]
        if isinstance(value, Tensor) and value.shape == positions.shape
        else value
        for name, value in inputs.items()
    }
    return Choice(cut, torch.tensor([0]), wanted / count)


def segments_of(positions: Tensor) -> Tensor:
    """Number of the sequence of every token of a packed row, ``[1, tokens]``."""
    return (positions == 0).long().cumsum(-1) - 1
