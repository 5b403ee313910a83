"""The evolution strategies of :class:`aajr.CMAES`, in NumPy, by the library ``cma``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cma
import numpy as np
import torch
from torch import Tensor

from aajr.geometry import Ball

_PENALTY = 0.1
_OPTIONS = {
    "verbose": -9,
    "verb_disp": 0,
    "verb_log": 0,
    "seed": float("nan"),  # the option randn gives the random numbers
}


class Strategies:
    """One evolution strategy per row, over z = δ/s on the row's attackable features."""

    def __init__(
        self, ball: Ball, population: int, radius: float, x: Tensor, generator: torch.Generator
    ) -> None:
        self.x, self.ball = x, ball
        self.scale = replace(ball, norm="linf").steepest(torch.ones_like(x))
        allowed = ball.attackable(x).flatten(1).bool().cpu().numpy()
        self.features = [np.flatnonzero(row) for row in allowed]
        uniform = torch.rand((len(x), 1), generator=generator, device=x.device, dtype=torch.float64)
        seeds = (uniform.flatten() * 2**52).long().tolist()
        width = radius * (ball.epsilon or 1.0)
        self.strategies = [
            _strategy(len(chosen), width, population, seed)
            for chosen, seed in zip(self.features, seeds, strict=True)
        ]

    def ask(self) -> Tensor:
        """λ perturbations in the ball per row, ``[λ, batch, *event]``."""
        self.asked = [np.stack(strategy.ask()) for strategy in self.strategies]
        flat = np.zeros((len(self.asked[0]), len(self.x), self.x[0].numel()))
        for row, chosen in enumerate(self.features):
            flat[:, row, chosen] = self.asked[row][:, : len(chosen)]
        z = torch.as_tensor(flat).to(self.x).reshape(-1, *self.x.shape)
        deltas = torch.stack([self.ball.project(delta, self.x) for delta in z * self.scale])
        self.outside = (z - deltas / self.scale).flatten(2).square().sum(2)
        return deltas

    def tell(self, losses: Tensor) -> None:
        """Update every strategy with the losses of its points, ``[λ, batch]``.

        The strategy minimises the negative loss. A point outside the ball has the loss of its
        projection minus a penalty: a tenth of its squared distance to the ball in units of ε,
        times the spread of the generation's losses. Without this penalty the strategy collapses
        into the first corner it reaches.
        """
        spread = (losses.amax(0) - losses.amin(0)) / (self.ball.epsilon or 1.0) ** 2
        costs = (spread * self.outside * _PENALTY - losses).double().cpu().numpy()
        for row, strategy in enumerate(self.strategies):
            strategy.tell(list(self.asked[row]), costs[:, row].tolist())


def _strategy(features: int, width: float, population: int, seed: int) -> Any:
    random = np.random.default_rng(seed)
    options = {
        **_OPTIONS,
        "popsize": population,
        "randn": lambda *shape: random.standard_normal(shape),
    }
    # cma needs at least two dimensions; a second one without effect does no harm
    return cma.CMAEvolutionStrategy(np.zeros(max(features, 2)), width, options)
