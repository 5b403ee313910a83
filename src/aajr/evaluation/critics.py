"""A freshly fitted Q of the victim, for the attack on value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aajr._checks import check_count, check_number
from aajr.training.learner import OnlineValue


@dataclass(frozen=True, eq=False)
class Experience:
    """Decisions of the victim and what came of them.

    Attributes:
        observation: clean observations, ``[episodes, steps, agents, features]``.
        action: one-hot actions, ``[episodes, steps, agents, logits]``.
        reward: ``[episodes, steps, agents]``.
    """

    observation: Tensor
    action: Tensor
    reward: Tensor


def returns_to_go(reward: Tensor, discount: float) -> Tensor:
    """Σ_j γ^j r_{t+j} along dimension 1 of ``[episodes, steps, ...]``."""
    total = torch.zeros_like(reward[:, 0])
    result = []
    for step in reversed(range(reward.shape[1])):
        total = reward[:, step] + discount * total
        result.append(total)
    return torch.stack(result[::-1], 1)


def fit_critic(
    experience: Experience,
    generator: torch.Generator,
    *,
    discount: float = 0.98,
    epochs: int = 4,
    batch: int = 1024,
    learning_rate: float = 3e-3,
) -> tuple[OnlineValue, float]:
    """Regress Q(o, a) on the discounted return that followed.

    A tenth of the episodes is held out to measure the fit.

    Args:
        experience: rollouts with exploration; without it Q says nothing of other actions.
        generator: source of initial weights and batches.
        discount: γ.
        epochs: passes over the data.
        batch: rows per gradient step.
        learning_rate: of Adam.

    Returns:
        Q, frozen, and its R² on held-out episodes.
    """
    check_number("discount", discount, maximum=1.0)
    check_count("epochs", epochs)
    if experience.reward.shape[0] < 10:
        raise ValueError(
            f"experience has {experience.reward.shape[0]} episodes; collect at least 10"
        )
    target = returns_to_go(experience.reward, discount)
    mean, spread = target.mean(), target.std().clamp_min(1e-6)
    held_out = experience.reward.shape[0] // 10
    parts = (experience.observation, experience.action, (target - mean) / spread)
    test = [part[:held_out].flatten(0, 2) for part in parts]
    observation, action, wanted = (part[held_out:].flatten(0, 2) for part in parts)
    critic = OnlineValue(observation.shape[-1], action.shape[-1], generator)
    optimizer = torch.optim.Adam(critic.parameters(), lr=learning_rate)
    for _ in range(epochs):
        for index in torch.split(torch.randperm(len(wanted), generator=generator), batch):
            loss = (critic(observation[index], action[index]) - wanted[index]).square().mean()
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
    critic.requires_grad_(False)
    return critic, r_squared(critic(test[0], test[1]), test[2])


def r_squared(predicted: Tensor, target: Tensor) -> float:
    """1 - residual / total variance; 0 predicts the mean, 1 is exact."""
    residual = (predicted - target).square().sum()
    total = (target - target.mean()).square().sum().clamp_min(1e-12)
    return float(1 - residual / total)


def one_hot(action: Tensor, heads: Sequence[int]) -> Tensor:
    """Actions ``[..., heads]`` as one-hot ``[..., sum(heads)]``."""
    parts = [nn.functional.one_hot(action[..., i], size) for i, size in enumerate(heads)]
    return torch.cat(parts, -1).float()
