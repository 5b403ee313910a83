"""An adversary that pushes the action in a direction given by a linear function of the state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from aajr.trajectory import Reference


@dataclass(frozen=True, eq=False)
class Steered:
    """ℓ(u) = Σⱼ sign(wⱼ·x) aⱼ: push the mean action a in the direction that a director gives.

    The director is the linear function of the state. Such a push can add energy to the system over
    many steps. Objectives of a single step do not reward that.

    Attributes:
        weights: w, ``[actions, features]``, on the normalised true state x.

    Source: the director of Sun et al., 2021, https://arxiv.org/abs/2106.05087, with a linear
    policy.
    """

    weights: Tensor

    def __call__(self, output: Tensor, reference: Reference) -> Tensor:
        """Sum of the mean action times the director's signs, ``[batch]``."""
        signs = (reference.inputs @ self.weights.T).sign()
        return (signs * output.chunk(2, -1)[0]).sum(1)


def best_director(
    returns: Callable[[Steered], float], features: int, actions: int, draws: int, seed: int
) -> Steered:
    """Find the director of least return by random search.

    The candidates are every single feature with either sign, and Gaussian draws.

    Args:
        returns: returns the victim's mean return under a director's attack.
        features: number of features of the state.
        actions: number of action dimensions.
        draws: number of Gaussian draws.
        seed: seed of the draws.

    Source: Mania, Guy and Recht, 2018, https://arxiv.org/abs/1803.07055.
    """
    generator = torch.Generator().manual_seed(seed)
    axes = torch.cat([torch.eye(features), -torch.eye(features)])
    weights = [axis.expand(actions, -1) for axis in axes]
    weights += [torch.randn(actions, features, generator=generator) for _ in range(draws)]
    return min(map(Steered, weights), key=returns)
