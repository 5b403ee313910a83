"""Episodes under attack, and the attacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

from aajr.adversaries import (
    Adversary,
    AttackOn,
    Critic,
    Divergence,
    LeastValue,
    Mixture,
    ProjectedGradientAscent,
    UniformNoise,
    VertexSearch,
    objective_scale,
)
from aajr.arena.critics import Transitions, robust_sarsa
from aajr.geometry import Ball
from aajr.integrations.sb3 import SavedAgent
from aajr.studies.mujoco._protocol import Protocol
from aajr.studies.mujoco._steered import Steered, best_director
from aajr.trajectory import Objective, Reference

FIVE = ("random", "critic", "mad", "rs", "rs_mad")
"""The attacks of the published protocol, by the first part of a name."""


@dataclass(frozen=True)
class Push:
    """ℓ(u) = ± the mean action: push it one way, step after step.

    Attributes:
        sign: +1 or −1.
    """

    sign: float

    def __call__(self, output: Tensor, reference: Reference) -> Tensor:
        """Signed sum of the mean action, ``[batch]``."""
        return self.sign * output.chunk(2, -1)[0].sum(1)


@dataclass(frozen=True, eq=False)
class Played:
    """Finished episodes.

    Attributes:
        returns: of every episode.
        largest: greatest ‖δ‖_∞ of all decisions, normalised units.
        observation: what the policy would have seen without attack, ``[steps, episodes, n]``; only
            if kept.
        action: ``[steps, episodes, m]``.
        reward: ``[steps, episodes]``.
        running: whether the episode had not ended before the step, ``[steps, episodes]``.
    """

    returns: tuple[float, ...]
    largest: float
    observation: Tensor | None = None
    action: Tensor | None = None
    reward: Tensor | None = None
    running: Tensor | None = None

    def kept(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Observation, action, reward and running; ValueError if the episodes were not kept."""
        parts = (self.observation, self.action, self.reward, self.running)
        present = tuple(part for part in parts if part is not None)
        if len(present) != 4:
            raise ValueError("played holds no observations; play with sample=True to keep them")
        return present


def play(
    agent: SavedAgent,
    environment: str,
    adversary: Adversary | None,
    episodes: int,
    seed: int,
    *,
    sample: bool = False,
    limit: int | None = None,
) -> Played:
    """Play episodes side by side; the attack of one decision is one batch over those running.

    Args:
        agent: the victim; it acts by the mode of its distribution.
        environment: Gymnasium's name.
        adversary: the attack, None for none.
        episodes: how many.
        seed: of the starts and of the attack.
        sample: draw the actions instead, and keep all decisions.
        limit: steps after which every episode is cut.

    Returns:
        Returns, and the decisions if kept.
    """
    environments = [gymnasium.make(environment) for _ in range(episodes)]
    starts = [env.reset(seed=1_000_003 * seed + i)[0] for i, env in enumerate(environments)]
    observation = np.stack(starts)
    generator = torch.Generator().manual_seed(seed)
    running, returns, largest = np.ones(episodes, bool), np.zeros(episodes), 0.0
    kept: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    step = 0
    while running.any() and (limit is None or step < limit):
        x = agent.normalise(observation[running])
        shown = x if adversary is None else adversary(agent.policy, x, generator).worst
        largest = max(largest, float((shown - x).abs().max()))
        action = _sampled(agent, shown, generator) if sample else agent.act(shown)
        reward = np.zeros(episodes)
        before = running.copy()
        for row, index in enumerate(np.flatnonzero(before)):
            result = environments[index].step(action[row].numpy())
            observation[index], reward[index] = result[0], result[1]
            running[index] = not (result[2] or result[3])
        returns += reward
        if sample:
            kept.append(_full(x, action, reward, before))
        step += 1
    for env in environments:
        env.close()
    decisions = [torch.stack(part) for part in zip(*kept, strict=True)] if kept else []
    return Played(tuple(returns.tolist()), largest, *decisions)


def _sampled(agent: SavedAgent, x: Tensor, generator: torch.Generator) -> Tensor:
    with torch.no_grad():
        mean, log_std = agent.policy(x).chunk(2, -1)
    noise = torch.randn(mean.shape, generator=generator)
    return agent.action(torch.cat([mean + log_std.exp() * noise, log_std], -1))


def _full(
    x: Tensor, action: Tensor, reward: np.ndarray, before: np.ndarray
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rows = torch.as_tensor(before)
    observation = x.new_zeros(len(before), x.shape[1])
    actions = x.new_zeros(len(before), action.shape[1])
    observation[rows], actions[rows] = x, action
    return observation, actions, torch.as_tensor(reward, dtype=torch.float32), rows


def sarsa(agent: SavedAgent, protocol: Protocol, kappa: float, seed: int) -> tuple[Any, float]:
    """Robust Sarsa's Q of the agent, from episodes with exploration, and its R²."""
    episodes = 50 if protocol.critic_steps >= 5000 else 10
    limit = protocol.critic_steps // episodes
    played = play(
        agent, protocol.environment, None, episodes, 7919 + seed, sample=True, limit=limit
    )
    data = transitions(played, protocol.discount)
    space = agent.action_space
    low, high = float(np.min(space.low)), float(np.max(space.high))
    return robust_sarsa(
        data,
        torch.Generator().manual_seed(seed),
        radius=0.1 * (high - low),
        weight=kappa,
        discount=protocol.discount,
        epochs=8,
        batch=512,
        limits=(low, high),
    )


def transitions(played: Played, discount: float) -> Transitions:
    """Rows of episodes of unequal length; a tenth of the episodes is held out."""
    observation, action, reward, running = played.kept()
    following = torch.cat([running[1:], torch.zeros_like(running[:1])])
    returns, total = torch.zeros_like(reward), torch.zeros_like(reward[0])
    for step in reversed(range(len(reward))):
        total = reward[step] + discount * total * following[step]
        returns[step] = total
    tested = torch.zeros_like(running)
    tested[:, : max(1, running.shape[1] // 10)] = True
    used, tested = running & ~tested, running & tested
    mean, spread = returns[used].mean(), returns[used].std().clamp_min(1e-6)
    target = (returns - mean) / spread
    return Transitions(
        observation=observation[used],
        action=action[used],
        reward=reward[used],
        target=target[used],
        next_observation=observation.roll(-1, 0)[used],
        next_action=action.roll(-1, 0)[used],
        continues=following[used].float(),
        mean=mean,
        spread=spread,
        held_out=(observation[tested], action[tested], target[tested]),
    )


def attacks(
    agent: SavedAgent,
    protocol: Protocol,
    seed: int,
    *,
    thorough: bool = False,
    names: Sequence[str] | None = None,
) -> dict[str, Adversary]:
    """Every attack by name: the five of the published protocol, two pushes and the steered one.

    Args:
        agent: the victim.
        protocol: ε, the search, and the grids of Robust Sarsa.
        seed: of the critics and of the director.
        thorough: by the longer projected gradient ascent, whatever the protocol's search.
        names: first parts of the names wanted; all by default.
    """
    climb = partial(worst_point, protocol, thorough=thorough)
    mad = Divergence(agent.metric)
    made: dict[str, Callable[[], dict[str, Adversary]]] = {
        "random": lambda: {"random": UniformNoise(Ball("linf", protocol.epsilon))},
        "critic": lambda: {
            "critic": AttackOn(lambda x: agent.value(x).unsqueeze(1), climb(LeastValue()))
        },
        "mad": lambda: {"mad": climb(mad)},
        "push": lambda: {"push_up": climb(Push(1.0)), "push_down": climb(Push(-1.0))},
        "steer": lambda: {"steer": climb(_director(agent, protocol, seed))},
        "rs": lambda: _robust_sarsa_attacks(agent, protocol, seed, climb),
    }
    wanted = made if names is None else names
    return {name: attack for part in wanted for name, attack in made[part]().items()}


def worst_point(protocol: Protocol, objective: Objective, *, thorough: bool = False) -> Adversary:
    """The search for the point of an objective's greatest value."""
    ball = Ball("linf", protocol.epsilon)
    if protocol.search == "vertices" and not thorough:
        return VertexSearch(ball, objective)
    steps = protocol.thorough_steps if thorough else protocol.attack_steps
    restarts = protocol.thorough_restarts if thorough else protocol.attack_restarts
    return ProjectedGradientAscent(ball, objective, steps=steps, restarts=restarts, select="best")


def _director(agent: SavedAgent, protocol: Protocol, seed: int) -> Steered:
    """The director found on episodes of its own."""

    def returns(director: Steered) -> float:
        attack = worst_point(protocol, director)
        episodes, apart = protocol.director_episodes, 7919 + seed
        return float(np.mean(play(agent, protocol.environment, attack, episodes, apart).returns))

    if agent.normalisation is None:
        raise ValueError("agent has no normalisation; the director needs its features' units")
    features, actions = len(agent.normalisation.mean), agent.action_space.shape[0]
    return best_director(returns, features, actions, protocol.director_draws, seed)


def _robust_sarsa_attacks(
    agent: SavedAgent, protocol: Protocol, seed: int, climb: Callable[[Objective], Adversary]
) -> dict[str, Adversary]:
    mad = Divergence(agent.metric)
    critics = [least(sarsa(agent, protocol, kappa, seed)[0]) for kappa in protocol.kappas]
    scales = _scales(agent, protocol, critics[0], mad)
    found = {
        f"rs_{kappa:g}": climb(critic)
        for kappa, critic in zip(protocol.kappas, critics, strict=True)
    }
    for weight in protocol.mixtures:
        found[f"rs_mad_{weight:g}"] = climb(Mixture(critics[0], mad, weight, *scales))
    return found


def least(q: Any) -> Critic:
    """The action that Q values least, taken as the mean."""
    return Critic(q, lambda output: output.chunk(2, -1)[0])


def _scales(
    agent: SavedAgent, protocol: Protocol, first: Objective, second: Objective
) -> list[float]:
    ball, generator = Ball("linf", protocol.epsilon), torch.Generator().manual_seed(0)
    x = play(agent, protocol.environment, None, 8, 1, sample=True, limit=50).kept()[0]
    rows = x.flatten(0, 1)
    return [objective_scale(o, agent.policy, rows, ball, generator) for o in (first, second)]


def worst(returns: dict[str, Sequence[float]], names: Sequence[str]) -> tuple[float, str]:
    """Least mean return over the attacks of the families named, and the attack."""
    means = {
        attack: float(np.mean(values))
        for attack, values in returns.items()
        if attack != "none" and attack.startswith(tuple(names))
    }
    attack = min(means, key=means.__getitem__)
    return means[attack], attack
