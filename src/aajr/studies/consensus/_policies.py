"""Several policies as one batched network; the policies are its members."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from aajr._seeds import derive
from aajr.studies.consensus._case import REFUGES, TRUSTED, Case, reports_of
from aajr.studies.responses import ESTIMATES

Front = Literal["none", "mean", "median"]
"""The estimate that replaces the reports before the network, or ``none``."""


class Members(nn.Module):
    """Tanh networks of the same shape, each with its own weights.

    Row r of a batch belongs to member r modulo the number of members. A batch thus holds equally
    many rows of each member, and no row depends on another, as adversaries and penalties require.

    Args:
        case: defines the observations.
        seeds: seeds of the members' initial weights.
        hidden: number of units in each of the two hidden layers.
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
        """Map ``[samples * members, inputs]`` to logits ``[samples * members, refuges]``."""
        if self.front != "none":
            x = torch.cat([x[:, :TRUSTED], ESTIMATES[self.front](reports_of(x))], -1)
        value = x.reshape(-1, self.count, x.shape[-1]).transpose(0, 1)
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            value = torch.baddbmm(bias, value, weight)
            value = value if index == len(self.weights) - 1 else value.tanh()
        return value.transpose(0, 1).flatten(0, 1)


def _weight(seed: int, layer: int, before: int, after: int) -> Tensor:
    generator = torch.Generator().manual_seed(derive(seed, "weights", layer))
    return torch.randn(before, after, generator=generator) / math.sqrt(before)
