"""An adversary that pushes the action in a direction given by a linear function of the state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from aajr._seeds import derive
from aajr.adversaries import Adversary, ProjectedGradientAscent
from aajr.arena.attacks.victim import Victim
from aajr.arena.environments.episodes import AttackedTeam, contest
from aajr.geometry import Ball
from aajr.trajectory import Reference

MOST_AXES = 32
"""Greatest number of features that the steered attack tries one by one."""


def mean_action(output: Tensor) -> Tensor:
    """The mean of a diagonal Gaussian's parameters."""
    return output.chunk(2, -1)[0]


@dataclass(frozen=True, eq=False)
class Steered:
    """ℓ(u) = Σⱼ sign(wⱼ·x) aⱼ: push the action a in the direction that a director gives.

    The director is the linear function of the state. Such a push can add energy to the system over
    many steps. Objectives of a single step do not reward that.

    Attributes:
        weights: w, ``[actions, features]``, on the true state x.
        action: map from outputs u ``[batch, outputs]`` to actions a ``[batch, actions]``; by
            default the mean of a Gaussian.

    Source: the director of Sun et al., 2021, https://arxiv.org/abs/2106.05087, with a linear
    policy.
    """

    weights: Tensor
    action: Callable[[Tensor], Tensor] = mean_action

    def __call__(self, output: Tensor, reference: Reference) -> Tensor:
        """Sum of the action times the director's signs, ``[batch]``."""
        signs = (reference.inputs @ self.weights.T).sign()
        return (signs * self.action(output)).sum(1)


def best_director(
    returns: Callable[[Steered], float],
    features: int,
    actions: int,
    draws: int,
    seed: int,
    action: Callable[[Tensor], Tensor] = mean_action,
    *,
    axes: bool = True,
) -> Steered:
    """Find the director of least return by random search.

    The candidates are every single feature with either sign, and Gaussian draws.

    Args:
        returns: returns the victim's mean return under a director's attack.
        features: number of features of the state.
        actions: number of action dimensions.
        draws: number of Gaussian draws.
        seed: seed of the draws.
        action: see :class:`Steered`.
        axes: whether to try the single features.

    Source: Mania, Guy and Recht, 2018, https://arxiv.org/abs/1803.07055.
    """
    generator = torch.Generator().manual_seed(seed)
    single = torch.eye(features)[: features if axes else 0]
    weights = [axis.expand(actions, -1) for axis in (*single, *-single)]
    weights += [torch.randn(actions, features, generator=generator) for _ in range(draws)]
    return min((Steered(one, action) for one in weights), key=returns)


def steered(ball: Ball, victim: Victim) -> Adversary:
    """The push of the best director, which is found on separate episodes of the victim."""
    effort, match, head = victim.effort, victim.match, victim.actor.head
    apart = match.resized(effort.director_episodes, derive(match.seed, "director"))

    def climb(director: Steered, steps: int, restarts: int) -> ProjectedGradientAscent:
        return ProjectedGradientAscent(
            ball, director, steps=steps, restarts=restarts, select="best"
        )

    def returns(director: Steered) -> float:
        source = torch.Generator().manual_seed(derive(apart.seed, "attack"))
        team = AttackedTeam(victim.actor, climb(director, 1, 1), source)
        outcome = contest(apart, team, "steered", ball.epsilon, may_find_none=True)
        return outcome.score.mean_return

    actions = head.relaxed(torch.zeros(1, head.outputs)).shape[-1]
    seed = derive(match.seed, "directors")
    features = victim.actor.features
    found = best_director(
        returns,
        features,
        actions,
        effort.director_draws,
        seed,
        head.relaxed,
        axes=features <= MOST_AXES,
    )
    return climb(found, effort.steps, effort.restarts)
