"""An adversary with a plan: which way to push, as a linear function of the state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from aajr.trajectory import Reference


@dataclass(frozen=True, eq=False)
class Steered:
    """ℓ(u) = Σⱼ sign(wⱼ·x) aⱼ: push the mean action a the way that a director says.

    A push that depends on the state can pump energy into the system over many steps, which no
    objective of a single step asks for.

    Attributes:
        weights: w, ``[actions, features]``, on the normalised true state x.

    Source: the director of Sun et al., 2021, https://arxiv.org/abs/2106.05087, with a linear
    policy.
    """

    weights: Tensor

    def __call__(self, output: Tensor, reference: Reference) -> Tensor:
        """The mean action along the director's signs, ``[batch]``."""
        signs = (reference.inputs @ self.weights.T).sign()
        return (signs * output.chunk(2, -1)[0]).sum(1)


def best_director(
    returns: Callable[[Steered], float], features: int, actions: int, draws: int, seed: int
) -> Steered:
    """The director of least return: every signed feature alone, then Gaussian draws.

    Args:
        returns: mean return of the victim under a director's attack.
        features: of the state.
        actions: of the policy.
        draws: random directors.
        seed: of the draws.

    Source: Mania, Guy and Recht, 2018, https://arxiv.org/abs/1803.07055.
    """
    generator = torch.Generator().manual_seed(seed)
    axes = torch.cat([torch.eye(features), -torch.eye(features)])
    weights = [axis.expand(actions, -1) for axis in axes]
    weights += [torch.randn(actions, features, generator=generator) for _ in range(draws)]
    return min(map(Steered, weights), key=returns)
