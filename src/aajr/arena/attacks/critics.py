"""Q functions fitted to the victim, for the attacks on value."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aajr._checks import check_count, check_number
from aajr.arena.agents.actors import mlp
from aajr.arena.environments.episodes import Experience


class OnlineValue(nn.Module):
    """A network Q(o, a) of an agent's observation and encoded action."""

    def __init__(self, features: int, actions: int, generator: torch.Generator) -> None:
        super().__init__()
        self.network = mlp(features + actions, 1, (64, 64), generator)

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        """Values ``[...]`` at ``[..., features]`` and ``[..., actions]``."""
        value: Tensor = self.network(torch.cat([observation, action], -1))
        return value.squeeze(-1)


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
    updates: int = 0,
) -> tuple[OnlineValue, float]:
    """Fit Q(o, a) by regression on the discounted return that followed.

    A tenth of the episodes is held out to measure the fit.

    Args:
        experience: rollouts with exploration, which shows Q other actions too.
        generator: source of initial weights and batches.
        discount: γ.
        epochs: passes over the data.
        batch: rows per gradient step.
        learning_rate: learning rate of Adam.
        updates: least number of gradient steps; further passes are added to reach it.

    Returns:
        Q, frozen, and its R² on held-out episodes.
    """
    data = _standardised(experience, discount, epochs)

    def loss(critic: OnlineValue, rows: Tensor) -> Tensor:
        predicted = critic(data.observation[rows], data.action[rows])
        return (predicted - data.target[rows]).square().mean()

    return _fit(data, loss, generator, _passes(data, epochs, batch, updates), batch, learning_rate)


def fit_robust_sarsa(
    experience: Experience,
    generator: torch.Generator,
    *,
    radius: float = 0.1,
    weight: float = 0.1,
    discount: float = 0.98,
    epochs: int = 8,
    batch: int = 1024,
    learning_rate: float = 3e-3,
    limits: tuple[float, float] = (0.0, 1.0),
    updates: int = 0,
) -> tuple[OnlineValue, float]:
    r"""Robust Sarsa: fit a Q of the victim that changes little under small changes of the action.

    .. math:: \min_\theta \mathbb{E}\,(r_t + \gamma Q(o_{t+1}, a_{t+1}) - Q(o_t, a_t))^2
        + \kappa\, u(o_t, a_t)^2, \quad
        u \ge \max_{\|a - a_t\|_\infty \le r} |Q(o_t, a) - Q(o_t, a_t)|

    a_{t+1} is the victim's next action; u is :func:`action_bound`. Without u, Q is arbitrary
    between the observed actions, and its gradient there misleads an attack. Values are in standard
    deviations of the return; after the last step of an episode the return is zero. A tenth of the
    episodes is held out to measure the fit.

    Args:
        experience: rollouts of the victim.
        generator: source of initial weights and batches.
        radius: r, radius of the ball of actions, in the actions' unit.
        weight: κ; 0 gives plain Sarsa.
        discount: γ.
        epochs: passes over the data.
        batch: rows per gradient step.
        learning_rate: learning rate of Adam.
        limits: least and greatest action; by default those of relaxed one-hot actions.
        updates: least number of gradient steps; further passes are added to reach it.

    Returns:
        Q, frozen, and its R² against the returns of held-out episodes.

    Raises:
        ValueError: fewer than 10 episodes, numbers out of range.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> from aajr.arena.spaces.heads import one_hot
        >>> action = one_hot(torch.randint(2, (40, 5, 1, 1), generator=g), (2,))
        >>> experience = Experience(torch.zeros(40, 5, 1, 3), action, action[..., 0])
        >>> critic, fit = fit_robust_sarsa(experience, g, discount=0.0, weight=0.0, batch=10)
        >>> fit > 0.9
        True

    Source: Zhang et al., Robust deep RL against adversarial perturbations on state observations,
    2020, https://arxiv.org/abs/2003.08938, appendix D.
    """
    data = _standardised(experience, discount, epochs)
    check_number("radius", radius)
    check_number("weight", weight)

    def loss(critic: OnlineValue, rows: Tensor) -> Tensor:
        observation, action = data.observation[rows], data.action[rows]
        with torch.no_grad():
            following = critic(data.next_observation[rows], data.next_action[rows])
            ahead = (following * data.spread + data.mean) * data.continues[rows]
            target = (data.reward[rows] + discount * ahead - data.mean) / data.spread
        error = (critic(observation, action) - target).square().mean()
        if weight == 0:
            return error
        bound = action_bound(critic, observation, action, radius, limits)
        return error + weight * bound.square().mean()

    return _fit(data, loss, generator, _passes(data, epochs, batch, updates), batch, learning_rate)


def action_bound(
    critic: OnlineValue,
    observation: Tensor,
    action: Tensor,
    radius: float,
    limits: tuple[float, float] = (0.0, 1.0),
) -> Tensor:
    r"""u such that u ≥ \|Q(o, a') - Q(o, a)\| for all a' within the limits with ‖a' - a‖_∞ ≤ r.

    Computed by interval bounds, which are sound but loose for a network not trained with them.

    Args:
        critic: Q.
        observation: ``[..., features]``.
        action: relaxed one-hot actions, ``[..., logits]``, or continuous ones.
        radius: r.
        limits: least and greatest action.

    Returns:
        The bound, ``[...]``, differentiable in Q's parameters.

    Raises:
        ValueError: the critic has layers other than linear ones and tanh.

    Source: Gowal et al., On the effectiveness of interval bound propagation, 2018,
    https://arxiv.org/abs/1810.12715.
    """
    low = torch.cat([observation, (action - radius).clamp_min(limits[0]).minimum(action)], -1)
    high = torch.cat([observation, (action + radius).clamp_max(limits[1]).maximum(action)], -1)
    value = critic(observation, action)
    for layer in critic.network.children():
        if not isinstance(layer, nn.Linear | nn.Tanh):
            raise ValueError(
                f"critic.network holds {layer}, but interval bounds know linear layers and tanh; "
                "give a critic of these"
            )
        if isinstance(layer, nn.Linear):
            middle = nn.functional.linear((low + high) / 2, layer.weight, layer.bias)
            reach = nn.functional.linear((high - low) / 2, layer.weight.abs())
            low, high = middle - reach, middle + reach
        else:
            low, high = low.tanh(), high.tanh()
    return torch.maximum(high.squeeze(-1) - value, value - low.squeeze(-1))


@dataclass(frozen=True, eq=False)
class Transitions:
    """Rows of the experience and the held-out rows; targets are standardised.

    Attributes:
        observation: ``[rows, features]``.
        action: ``[rows, actions]``.
        reward: ``[rows]``.
        target: standardised discounted returns, ``[rows]``.
        next_observation: observations of the following step.
        next_action: the victim's actions there.
        continues: 0 if the episode ends after the row, else 1, ``[rows]``.
        mean: mean of the returns.
        spread: standard deviation of the returns.
        held_out: observations, actions and targets for the measure of fit.
    """

    observation: Tensor
    action: Tensor
    reward: Tensor
    target: Tensor
    next_observation: Tensor
    next_action: Tensor
    continues: Tensor
    mean: Tensor
    spread: Tensor
    held_out: tuple[Tensor, Tensor, Tensor]


def _standardised(experience: Experience, discount: float, epochs: int) -> Transitions:
    check_number("discount", discount, maximum=1.0)
    check_count("epochs", epochs)
    episodes = experience.reward.shape[0]
    if episodes < 10:
        raise ValueError(f"experience has {episodes} episodes; collect at least 10")
    reward, played = experience.reward, experience.played
    if played is None:
        played = torch.ones(reward.shape[:2], dtype=torch.bool)
    returns = returns_to_go(reward, discount)
    met = returns[played]
    mean, spread = met.mean(), met.std().clamp_min(1e-6)
    follows = torch.cat([played[:, 1:], torch.zeros_like(played[:, :1])], 1)
    continues = follows.to(reward).unsqueeze(-1).expand_as(reward)
    target = (returns - mean) / spread
    held_out = episodes // 10

    def test(part: Tensor) -> Tensor:
        return part[:held_out][played[:held_out]].flatten(0, 1)

    def rows(part: Tensor) -> Tensor:
        return part[held_out:][played[held_out:]].flatten(0, 1)

    return Transitions(
        observation=rows(experience.observation),
        action=rows(experience.action),
        reward=rows(reward),
        target=rows(target),
        next_observation=rows(experience.observation.roll(-1, 1)),
        next_action=rows(experience.action.roll(-1, 1)),
        continues=rows(continues),
        mean=mean,
        spread=spread,
        held_out=(test(experience.observation), test(experience.action), test(target)),
    )


def _passes(data: Transitions, epochs: int, batch: int, updates: int) -> int:
    """Passes over the data: ``epochs``, or as many as ``updates`` gradient steps need."""
    return max(epochs, math.ceil(updates / math.ceil(len(data.target) / batch)))


def _fit(
    data: Transitions,
    loss: Callable[[OnlineValue, Tensor], Tensor],
    generator: torch.Generator,
    epochs: int,
    batch: int,
    learning_rate: float,
) -> tuple[OnlineValue, float]:
    critic = OnlineValue(data.observation.shape[-1], data.action.shape[-1], generator)
    optimizer = torch.optim.Adam(critic.parameters(), lr=learning_rate)
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(data.target), generator=generator), batch):
            optimizer.zero_grad()
            torch.autograd.backward(loss(critic, rows))
            optimizer.step()
    critic.requires_grad_(False)
    observation, action, wanted = data.held_out
    return critic, r_squared(critic(observation, action), wanted)


def r_squared(predicted: Tensor, target: Tensor) -> float:
    """R² = 1 - residual / total variance; 0 is as good as the mean, 1 is exact."""
    residual = (predicted - target).square().sum()
    total = (target - target.mean()).square().sum().clamp_min(1e-12)
    return float(1 - residual / total)
