"""Covariance matrix adaptation, by the library ``cma``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from aajr._checks import check_count, check_number
from aajr._modes import Policy
from aajr.adversaries._base import Adversary
from aajr.adversaries._evaluation import losses_of_many
from aajr.adversaries._objectives import Divergence
from aajr.adversaries._record import better, highest, two_points
from aajr.geometry import Ball
from aajr.trajectory import Objective, Reference, Trajectory

if TYPE_CHECKING:
    from aajr.adversaries._cma_strategies import Strategies


@dataclass(frozen=True, eq=False)
class CMAES(Adversary):
    """CMA-ES in the attackable features, in units of the ball's scale: one strategy per row.

    Every generation proposes λ points per row, which are projected on the ball and scored there;
    the points of all rows go through the policy in one batch. The strategies are updated row by
    row, which takes one to two milliseconds per row and generation: about a minute for 1000 rows
    and 40 generations. So use it for hundreds of rows.

    It needs the extra ``attacks``: ``pip install 'aajr[attacks]'``.

    Attributes:
        ball: the threat set.
        objective: ℓ, (output, reference) to losses ``[batch]``.
        generations: of each strategy; a longer search begins with the steps of a shorter one.
        population: λ, queries per generation.
        radius: initial standard deviation in units of ε.

    Raises:
        ImportError: ``cma`` or NumPy, which it needs, is not installed.

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
        _load_strategies()

    def run(self, policy: Policy, reference: Reference, generator: torch.Generator) -> Trajectory:
        """Propose, score and adapt; the gradients of the trajectory are zero."""
        x = reference.inputs
        rows = _load_strategies()(self.ball, self.population, self.radius, x, generator)
        best, found = torch.zeros_like(x), x.new_full(x.shape[:1], -torch.inf)
        first, start = best, found
        for generation in range(self.generations):
            deltas = rows.ask()
            losses = losses_of_many(policy, self.objective, x + deltas, reference)
            rows.tell(losses)
            best, found = better(best, found, highest(deltas, losses), losses.amax(0))
            if generation == 0:
                first, start = best, found
        passes = 1 + self.generations * self.population
        ends = (x + first, x + best, (start, found))
        return two_points(reference, *ends, self.ball.budget_dims, passes)


def _load_strategies() -> type[Strategies]:
    # imported here, because the core must not need NumPy
    try:
        from aajr.adversaries._cma_strategies import Strategies
    except ImportError as error:
        raise ImportError("CMAES needs the package cma: pip install 'aajr[attacks]'") from error
    return Strategies
