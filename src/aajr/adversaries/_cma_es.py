"""Covariance matrix adaptation, by the library ``cma``."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aajr._checks import check_count, check_number
from aajr._modes import Policy
from aajr.adversaries._base import Adversary
from aajr.adversaries._evaluation import losses_of_many, over_rows
from aajr.adversaries._objectives import Divergence
from aajr.geometry import Ball
from aajr.trajectory import Objective, Reference, Trajectory

_PENALTY = 0.1
_OPTIONS = {
    "verbose": -9,
    "verb_disp": 0,
    "verb_log": 0,
    "seed": float("nan"),  # the random numbers are ours
}


@dataclass(frozen=True, eq=False)
class CMAES(Adversary):
    """CMA-ES in the attackable features, in units of the ball's scale: one strategy per row.

    Every generation proposes λ points per row, which are projected on the ball and scored there;
    all rows' points pass the policy in one batch. The strategies themselves go row by row and
    take one to two milliseconds per generation, so 1000 rows and 40 generations take
    about a minute: use it on hundreds of rows.

    It needs the extra ``attacks``: ``pip install 'aajr[attacks]'``.

    Attributes:
        ball: the threat set.
        objective: ℓ, (output, reference) to losses ``[batch]``.
        generations: of each strategy; a longer search begins with the shorter one.
        population: λ, queries per generation.
        radius: initial standard deviation in units of ε.

    Raises:
        ImportError: ``cma`` is not installed, when the attack runs.

    Example:
        >>> import torch
        >>> attack = CMAES(Ball("l2", 0.5), lambda output, reference: output.sum(1))
        >>> trajectory = attack(torch.tanh, torch.zeros(1, 3), torch.Generator().manual_seed(0))
        >>> bool(trajectory.worst.sum() > 0.99 * 0.5 * 3**0.5), trajectory.forward_passes
        (True, 481)

    Source: Hansen, The CMA evolution strategy: a tutorial, 2016,
    https://arxiv.org/abs/1604.00772.
    """

    ball: Ball
    objective: Objective = field(default_factory=Divergence)
    generations: int = 40
    population: int = 12
    radius: float = 0.5

    def __post_init__(self) -> None:
        check_count("generations", self.generations)
        check_count("population", self.population, minimum=4)
        check_number("radius", self.radius, exclusive=True)

    def run(self, policy: Policy, reference: Reference, generator: torch.Generator) -> Trajectory:
        """Ask and tell; the gradients of the trajectory are zero."""
        x = reference.inputs
        rows = _Strategies(self, x, generator)
        best, found = torch.zeros_like(x), x.new_full(x.shape[:1], -torch.inf)
        first, start = best, found
        for generation in range(self.generations):
            deltas = rows.ask()
            losses = losses_of_many(policy, self.objective, x + deltas, reference)
            rows.tell(losses)
            top, index = losses.max(0)
            leader = deltas[index, torch.arange(len(x), device=x.device)]
            best = torch.where(over_rows(top > found, x), leader, best)
            found = torch.maximum(top, found)
            if generation == 0:
                first, start = best, found
        return Trajectory(
            reference=reference,
            points=torch.stack([x + first, x + best]),
            gradients=torch.zeros_like(x).unsqueeze(0),
            losses=torch.stack([start, found]),
            worst=x + best,
            event_dims=self.ball.budget_dims,
            forward_passes=1 + self.generations * self.population,
        )


class _Strategies:
    """One evolution strategy per row, over z = δ/s on the row's attackable features."""

    def __init__(self, attack: CMAES, x: Tensor, generator: torch.Generator) -> None:
        self.x, self.ball = x, attack.ball
        self.scale = replace(attack.ball, norm="linf").steepest(torch.ones_like(x))
        allowed = attack.ball.attackable(x).flatten(1).bool().cpu().numpy()
        self.features = [np.flatnonzero(row) for row in allowed]
        uniform = torch.rand((len(x), 1), generator=generator, device=x.device, dtype=torch.float64)
        seeds = (uniform.flatten() * 2**52).long().tolist()
        width = attack.radius * (attack.ball.epsilon or 1.0)
        self.strategies = [
            _strategy(len(chosen), width, attack.population, seed)
            for chosen, seed in zip(self.features, seeds, strict=True)
        ]

    def ask(self) -> Tensor:
        """λ points of the ball per row, ``[λ, batch, *event]``."""
        self.asked = [np.stack(strategy.ask()) for strategy in self.strategies]
        flat = np.zeros((len(self.asked[0]), len(self.x), self.x[0].numel()))
        for row, chosen in enumerate(self.features):
            flat[:, row, chosen] = self.asked[row][:, : len(chosen)]
        z = torch.as_tensor(flat).to(self.x).reshape(-1, *self.x.shape)
        deltas = torch.stack([self.ball.project(delta, self.x) for delta in z * self.scale])
        self.outside = (z - deltas / self.scale).flatten(2).square().sum(2)
        return deltas

    def tell(self, losses: Tensor) -> None:
        """Teach every strategy what its points were worth, ``[λ, batch]``; it minimises.

        A point outside the ball is worth as much as its projection, less a tenth of its squared
        distance in units of ε times the spread of the generation's losses. Telling the
        projections alone makes the strategy collapse into the first corner it meets.
        """
        spread = (losses.amax(0) - losses.amin(0)) / (self.ball.epsilon or 1.0) ** 2
        costs = (spread * self.outside * _PENALTY - losses).double().cpu().numpy()
        for row, strategy in enumerate(self.strategies):
            strategy.tell(list(self.asked[row]), costs[:, row].tolist())


def _strategy(features: int, width: float, population: int, seed: int) -> Any:
    try:
        import cma
    except ImportError as error:
        raise ImportError("CMAES needs the package cma: pip install 'aajr[attacks]'") from error
    random = np.random.default_rng(seed)
    options = {
        **_OPTIONS,
        "popsize": population,
        "randn": lambda *shape: random.standard_normal(shape),
    }
    # cma wants two dimensions at least; a second one without effect does no harm
    return cma.CMAEvolutionStrategy(np.zeros(max(features, 2)), width, options)
