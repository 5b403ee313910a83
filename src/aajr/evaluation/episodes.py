"""Whole episodes of the hiders under attack, against frozen seekers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import vmas
from torch import Tensor

from aajr._checks import check_count
from aajr.adversaries import Adversary
from aajr.envs.hide_and_seek import HideAndSeek, HideAndSeekConfig, hiders_success
from aajr.evaluation.critics import Experience, one_hot
from aajr.evaluation.records import Score
from aajr.training.models import ACTION_HEADS, Actor, greedy_heads, sample_heads

Hiders = Callable[[Tensor], Tensor]
"""Observations ``[episodes, hiders, features]`` to actions ``[episodes, hiders, heads]``."""


@dataclass(frozen=True, eq=False)
class Match:
    """Who plays: the game, the frozen seekers, how many episodes, and the seed of their starts.

    The same seed gives the same initial states to every policy, attack and ε.

    Attributes:
        config: the game.
        opponents: frozen seekers; the episodes are split evenly among them.
        episodes: number of episodes, played at once.
        seed: of initial states and of the seekers' sampled actions.
    """

    config: HideAndSeekConfig
    opponents: Sequence[Actor]
    episodes: int
    seed: int

    def __post_init__(self) -> None:
        check_count("episodes", self.episodes)
        if not self.opponents:
            raise ValueError("opponents is empty; give at least one frozen seeker")


@dataclass(frozen=True, eq=False)
class Record:
    """One match as it was played.

    Attributes:
        observation: of the hiders, ``[episodes, steps, hiders, features]``.
        action: of the hiders, ``[episodes, steps, hiders, heads]``.
        reward: of the hiders, ``[episodes, steps, hiders]``.
        seen: hiders seen at the last step, ``[episodes, hiders]``.
    """

    observation: Tensor
    action: Tensor
    reward: Tensor
    seen: Tensor


@torch.no_grad()
def play(match: Match, hiders: Hiders) -> Record:
    """Play the match and keep what the hiders saw, did and earned."""
    config = match.config
    generator = torch.Generator().manual_seed(match.seed)
    env = vmas.make_env(
        HideAndSeek(config),
        num_envs=match.episodes,
        seed=match.seed,
        max_steps=config.max_steps,
        continuous_actions=False,
        multidiscrete_actions=True,
    )
    views = env.reset(seed=match.seed)
    observations, actions, rewards, seen = [], [], [], torch.empty(0)
    for _ in range(config.max_steps):
        mine = torch.stack(views[: config.n_hiders], 1)
        theirs = torch.stack(views[config.n_hiders :], 1)
        action = hiders(mine)
        both = torch.cat([action, _seek(match, theirs, generator)], 1)
        views, gains, _, infos = env.step(list(both.unbind(1)))
        observations.append(mine)
        actions.append(action)
        rewards.append(torch.stack(gains[: config.n_hiders], 1))
        seen = torch.stack([info["seen"] for info in infos[: config.n_hiders]], 1)
    return Record(
        torch.stack(observations, 1), torch.stack(actions, 1), torch.stack(rewards, 1), seen
    )


def _seek(match: Match, observation: Tensor, generator: torch.Generator) -> Tensor:
    shares = observation.tensor_split(len(match.opponents))
    return torch.cat(
        [
            sample_heads(actor(share), actor.heads, generator)
            for actor, share in zip(match.opponents, shares, strict=True)
        ]
    )


class AttackedHiders:
    """The most likely actions of an actor that sees what the adversary shows it.

    Args:
        actor: the victim.
        adversary: attacks every hider's observation at every step; None for a clean match.
        generator: source of the attack's randomness.
        on_logits: the adversary shifts the action's logits instead of the observation.
    """

    def __init__(
        self,
        actor: Actor,
        adversary: Adversary | None,
        generator: torch.Generator,
        on_logits: bool = False,
    ) -> None:
        self.actor = actor
        self.adversary = adversary
        self.generator = generator
        self.on_logits = on_logits
        self.changed: list[float] = []
        self.largest = 0.0

    def __call__(self, observation: Tensor) -> Tensor:
        """Actions under attack; records how far the attack reached."""
        if self.adversary is None:
            return greedy_heads(self.actor(observation), self.actor.heads)
        flat = observation.flatten(0, 1)
        if self.on_logits:
            logits = self.actor(flat)
            data = {"observation": flat}
            trajectory = self.adversary(torch.clone, logits, self.generator, data)
            attacked = trajectory.worst
        else:
            trajectory = self.adversary(self.actor, flat, self.generator)
            attacked = self.actor(trajectory.worst)
        action = greedy_heads(attacked, self.actor.heads)
        clean = greedy_heads(trajectory.reference.outputs, self.actor.heads)
        size = self.adversary.ball.size(trajectory.worst - trajectory.origin)
        self.changed.append(float((action != clean).any(-1).float().mean()))
        self.largest = max(self.largest, float(size.max()))
        return action.reshape(*observation.shape[:2], -1)


def score(match: Match, hiders: Hiders, attack: str, epsilon: float) -> Score:
    """Play and summarise; an attacked team must have been reached within the budget.

    Raises:
        RuntimeError: the perturbation left its ball, or never reached the policy.
    """
    record = play(match, hiders)
    success = hiders_success(record.seen, match.config.hidden_for_success)
    changed, largest = 0.0, 0.0
    if isinstance(hiders, AttackedHiders) and hiders.adversary is not None:
        changed, largest = sum(hiders.changed) / len(hiders.changed), hiders.largest
        if not 0 < largest <= epsilon * 1.001 + 1e-5:
            raise RuntimeError(
                f"attack {attack!r} at ε={epsilon} perturbed by {largest}; the perturbation must "
                "reach the policy and stay in its ball"
            )
    return Score(
        attack=attack,
        epsilon=epsilon,
        success=float(success.float().mean()),
        episodes=match.episodes,
        mean_return=float(record.reward.sum(1).mean()),
        changed_actions=changed,
        largest_perturbation=largest,
    )


def explore(match: Match, actor: Actor, share: float = 0.2) -> Experience:
    """Rollouts of the victim in which a share of the actions is uniformly random.

    Args:
        match: who plays.
        actor: the victim, sampling from its own distribution.
        share: share of random actions, which lets a Q learn what other actions are worth.
    """
    generator = torch.Generator().manual_seed(match.seed + 1)

    def act(observation: Tensor) -> Tensor:
        logits = actor(observation)
        random = torch.rand(logits.shape[:-1], generator=generator).unsqueeze(-1) < share
        return sample_heads(logits.masked_fill(random, 0.0), actor.heads, generator)

    record = play(match, act)
    return Experience(record.observation, one_hot(record.action, actor.heads), record.reward)


def floors(match: Match) -> dict[str, Score]:
    """Scores of hiders that do not move and of hiders that act at random."""
    generator = torch.Generator().manual_seed(match.seed + 2)

    def motionless(observation: Tensor) -> Tensor:
        return torch.zeros(*observation.shape[:2], len(ACTION_HEADS), dtype=torch.long)

    def random(observation: Tensor) -> Tensor:
        logits = torch.zeros(*observation.shape[:2], sum(ACTION_HEADS))
        return sample_heads(logits, ACTION_HEADS, generator)

    return {
        "motionless": score(match, motionless, "none", 0.0),
        "random": score(match, random, "none", 0.0),
    }
