"""A reward for leading the victim to states where it is seldom, which explores without a task."""

from __future__ import annotations

import torch
from torch import Tensor

from aajr.arena.environments.protocols import Recorded

NEAREST = 10
"""Number of neighbours over which distances are averaged."""

PARTICLES = 2048
"""Greatest number of states among which neighbours are sought."""


def coverage(
    states: Tensor,
    generator: torch.Generator,
    *,
    nearest: int = NEAREST,
    particles: int = PARTICLES,
) -> Tensor:
    r"""How seldom each state is, by the distance of its k nearest neighbours.

    .. math:: b_i = \log\Bigl(1 + \frac1k \sum_{j \in N_k(i)} \|z_i - z_j\|_2\Bigr),
        \quad z = x / \sigma(x)

    Its mean grows with an estimate of the entropy of the states. Features that are constant do not
    count. A state is not its own neighbour.

    Args:
        states: x, ``[states, features]``.
        generator: source of the drawn particles.
        nearest: k; all other particles if they are fewer.
        particles: neighbours are sought among so many states, which are drawn if there are more.

    Returns:
        ``[states]``.

    Example:
        >>> states = torch.tensor([[0.0], [0.0], [0.0], [9.0]])
        >>> coverage(states, torch.Generator(), nearest=2).argmax()
        tensor(3)

    Source: Zheng et al., Toward evaluating robustness of reinforcement learning with adversarial
    policy, 2024, https://arxiv.org/abs/2305.02605, the driver of state coverage; the estimate is
    that of Liu and Abbeel, 2021, https://arxiv.org/abs/2103.04551.
    """
    spread = states.std(0, correction=0)
    z = (states - states.mean(0)) / torch.where(spread > 1e-6 * states.abs().amax(0), spread, 1.0)
    drawn = torch.randperm(len(z), generator=generator)[:particles]
    place = torch.full((len(z),), -1)
    place[drawn] = torch.arange(len(drawn))
    found = [
        _mean_distance(z[rows], z[drawn], place[rows], nearest)
        for rows in torch.split(torch.arange(len(z)), particles)
    ]
    return torch.cat(found).log1p()


def with_coverage(record: Recorded, share: float, generator: torch.Generator) -> Tensor:
    r"""The attacker's reward -(1 - c) r/σ(r) + c (b' - mean b)/σ(b); b' is of the next state.

    r is the victim's reward, and every agent's observation is a state. σ and the mean are over all
    played steps. The last step of an episode has no next state, and b' is the mean there, so that
    an episode is no better for being longer.

    Args:
        record: the attacked episodes.
        share: c in [0, 1].
        generator: see :func:`coverage`.

    Returns:
        ``[episodes, steps, agents, 1]``, 0 after an episode's end.
    """
    reward, played = record.reward, record.played
    rarity = coverage(record.observation[played].flatten(0, 1), generator)
    bonus = torch.zeros_like(reward)
    rarity = (rarity - rarity.mean()) / _spread(rarity)
    bonus[played] = rarity.reshape(-1, reward.shape[-1])
    ahead = torch.cat([bonus[:, 1:], torch.zeros_like(bonus[:, :1])], 1)
    task = -reward / _spread(reward[played])
    return ((1 - share) * task + share * ahead).unsqueeze(-1)


def _mean_distance(rows: Tensor, among: Tensor, own: Tensor, nearest: int) -> Tensor:
    """Mean distance of each row's nearest particles, where ``own`` is its own or -1."""
    distance = torch.cdist(rows, among)
    itself = own >= 0
    distance[itself, own[itself]] = torch.inf
    if len(among) == 1:
        return distance.new_zeros(len(rows))
    return distance.topk(min(nearest, len(among) - 1), largest=False).values.mean(1)


def _spread(values: Tensor) -> Tensor:
    """The standard deviation, or 1 if it is 0."""
    spread = values.std(correction=0)
    return torch.where(spread > 0, spread, 1.0)
