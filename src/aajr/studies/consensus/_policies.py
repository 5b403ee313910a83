"""Policies side by side: one batched network for all members of a group."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from aajr.studies.consensus._case import REFUGES, TRUSTED, Case, reports_of
from aajr.studies.responses import ESTIMATES

Front = Literal["none", "mean", "median"]
"""What stands before the network: nothing, or an estimate in place of the reports."""


class Members(nn.Module):
    """Tanh networks of one shape with weights of their own.

    Row r of a batch belongs to member r modulo the number of members, so that a batch holds as many
    rows of each, and adversaries and penalties see rows of which none depends on another.

    Args:
        case: what they observe.
        seeds: of each member's first weights.
        hidden: units of both hidden layers.
        front: see :data:`Front`.
    """

    def __init__(self, case: Case, seeds: Sequence[int], hidden: int, front: Front) -> None:
        super().__init__()
        inputs = case.inputs if front == "none" else TRUSTED + 2
        shapes = list(itertools.pairwise((inputs, hidden, hidden, REFUGES)))
        drawn = [[_weight(seed, layer, *s) for seed in seeds] for layer, s in enumerate(shapes)]
        self.weights = nn.ParameterList(nn.Parameter(torch.stack(layer)) for layer in drawn)
        self.biases = nn.ParameterList(
            nn.Parameter(torch.zeros(len(seeds), 1, shape[1])) for shape in shapes
        )
        self.count = len(seeds)
        self.front = front

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the refuges: ``[samples * members, inputs]`` to ``[.., refuges]``."""
        if self.front != "none":
            x = torch.cat([x[:, :TRUSTED], ESTIMATES[self.front](reports_of(x))], -1)
        value = x.reshape(-1, self.count, x.shape[-1]).transpose(0, 1)
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            value = torch.baddbmm(bias, value, weight)
            value = value if index == len(self.weights) - 1 else value.tanh()
        return value.transpose(0, 1).flatten(0, 1)


def _weight(seed: int, layer: int, before: int, after: int) -> Tensor:
    generator = torch.Generator().manual_seed(1000 * seed + layer)
    return torch.randn(before, after, generator=generator) / math.sqrt(before)
