"""What attacks need to know of their victim: critics, an imitation, a trained attacker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from aajr._checks import check_choice
from aajr.adversaries import (
    Adversary,
    Critic,
    Divergence,
    Imitation,
    imitate,
    objective_scale,
)
from aajr.arena.agents import Actor, one_hot
from aajr.arena.critics import Experience, OnlineValue, fit_critic, fit_robust_sarsa
from aajr.arena.environments import Environment
from aajr.arena.episodes import explore
from aajr.arena.learned import AttackerConfig, Kind, TrainingEnvironment, train_attacker
from aajr.arena.ppo import PPOConfig
from aajr.arena.settings import Effort
from aajr.arena.threats import THREATS, Threat
from aajr.geometry import Ball, Categorical
from aajr.trajectory import Objective

_Fitted = TypeVar("_Fitted")


@dataclass(frozen=True, eq=False)
class Victim:
    """A policy under evaluation, and what is fitted to it, each once and when first asked for.

    Every fit draws from a seed of its own: the order in which attacks are built changes nothing.

    Attributes:
        actor: the hiders' policy.
        match: who plays, on which starts.
        threat: what may be perturbed.
        effort: how hard the attacks try.
        directory: where training of attackers is kept, to go on if it is stopped; or None.

    Raises:
        ValueError: an unknown threat, an actor that does not read this game's observations.
    """

    actor: Actor
    match: Environment[Any]
    threat: Threat
    effort: Effort
    directory: Path | None = None
    _fitted: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        check_choice("threat", self.threat, tuple(THREATS))
        features = self.match.features
        if self.actor.features != features:
            raise ValueError(
                f"the actor reads {self.actor.features} features, the game shows {features}; give "
                "the configuration that the actor was trained with"
            )

    @property
    def on_logits(self) -> bool:
        """Whether the threat is to actions: the adversary shifts the logits."""
        return self.threat == "actions"

    @cached_property
    def mask(self) -> Tensor | None:
        """Attackable features, ``[features]``; None for logits."""
        if self.on_logits:
            return None
        return self.match.attackable(self.threat)

    @cached_property
    def metric(self) -> Categorical:
        """Geometry of the action heads."""
        return Categorical(self.actor.heads)

    @property
    def divergence(self) -> Objective:
        """MAD: the change of the action distribution."""
        return Divergence(self.metric)

    def ball(self, epsilon: float) -> Ball:
        """The L∞ ball of the threat."""
        return Ball("linf", epsilon, mask=self.mask)

    def critic(self, index: int) -> OnlineValue:
        """A Q fitted to rollouts of its own; the index chooses its seed."""

        def fit() -> OnlineValue:
            seed = self.match.seed + 1000 * (index + 1)
            return self._noted(f"critic_{index}", fit_critic(self._rollouts(seed), _source(seed)))

        return self._once(f"critic_{index}", fit)

    def robust_sarsa(self, weight: float) -> OnlineValue:
        """A Q of Robust Sarsa with the weight κ of its regulariser."""

        def fit() -> OnlineValue:
            seed = self.match.seed + 500_000
            found = fit_robust_sarsa(self._rollouts(seed), _source(seed), weight=weight)
            return self._noted(f"robust_sarsa_{weight:g}", found)

        return self._once(f"robust_sarsa_{weight:g}", fit)

    @property
    def preparation(self) -> dict[str, float]:
        """Held-out R² of everything fitted so far, and the queries that an imitation took."""
        facts: dict[str, float] = self._fitted.get("facts", {})
        return dict(facts)

    def least(self, value: OnlineValue, on_logits: bool | None = None) -> Objective:
        """The objective -Q(s, a): the action that a Q values least in the true state."""
        logits = self.on_logits if on_logits is None else on_logits
        return Critic(value, self.metric.probabilities, "observation" if logits else None)

    def state_value(self, observation: Tensor) -> Tensor:
        """V(o) = Q(o, π(o)) ``[batch, 1]``, of the first critic."""
        probabilities = self.metric.probabilities(self.actor(observation))
        value: Tensor = self.critic(0)(observation, probabilities)
        return value.unsqueeze(-1)

    def least_action(self, observation: Tensor) -> Tensor:
        """Logits ``[batch, outputs]`` of the entry of every head that the first critic values
        least, the other heads held at the policy's choice.
        """
        heads, critic = self.actor.heads, self.critic(0)
        with torch.no_grad():
            chosen = one_hot(self.actor.act(self.actor(observation)), heads)
            start, target = 0, torch.zeros_like(chosen)
            for size in heads:
                part = slice(start, start + size)
                values = [critic(observation, _replaced(chosen, part, i)) for i in range(size)]
                worst = torch.stack(values, -1).argmin(-1)
                target[:, part] = torch.nn.functional.one_hot(worst, size).to(target)
                start += size
        return 10.0 * target

    def scale(self, objective: Objective, ball: Ball) -> float:
        """Unit of an objective in a ball around the victim's states, for mixtures."""
        states, source = self.states[:1024], _source(self.match.seed + 600_002)
        if not self.on_logits:
            return objective_scale(objective, self.actor, states, ball, source)
        with torch.no_grad():
            logits = self.actor(states)
        data = {"observation": states}
        return objective_scale(objective, torch.clone, logits, ball, source, data=data)

    @property
    def states(self) -> Tensor:
        """Observations that the victim met, ``[states, features]``, at most 4096."""
        return self._once("states", self._states)

    @property
    def imitation(self) -> Imitation:
        """A copy of the victim, from its answers on :attr:`states` alone."""

        def fit() -> Imitation:
            seed = self.match.seed + 600_001
            copy = imitate(self.actor, self.states, _source(seed))
            self._note("imitation_r2", 1 - copy.error)
            self._note("imitation_queries", copy.queries)
            return copy

        return self._once("imitation", fit)

    def attacker(self, kind: Kind, ball: Ball) -> Adversary:
        """A learned attacker, trained on this victim at the ball's ε beside the match's seekers."""
        effort = self.effort
        environments = effort.attacker_environments
        ppo = PPOConfig(environments=environments, epochs=4, learning_rate=3e-3, entropy=0.0)
        config = AttackerConfig(iterations=effort.attacker_iterations, ppo=ppo)
        place = None if self.directory is None else self.directory / f"{kind}_{ball.epsilon:g}"
        match, seed = self.match, self.match.seed + 700_000
        if not isinstance(match, TrainingEnvironment):
            raise ValueError(f"match={match!r} trains no attacker; leave learned attacks out")
        return train_attacker(self.actor, match, ball, kind, config, place, seed)

    def _rollouts(self, seed: int) -> Experience:
        return explore(self.match.resized(self.effort.critic_episodes, seed), self.actor)

    def _states(self) -> Tensor:
        seed = self.match.seed + 600_000
        states = self._rollouts(seed).observation.flatten(0, 2)
        return states[torch.randperm(len(states), generator=_source(seed))[:4096]]

    def _noted(self, name: str, found: tuple[OnlineValue, float]) -> OnlineValue:
        self._note(f"{name}_r2", found[1])
        return found[0]

    def _note(self, name: str, value: float) -> None:
        self._fitted.setdefault("facts", {})[name] = value

    def _once(self, name: str, make: Callable[[], _Fitted]) -> _Fitted:
        if name not in self._fitted:
            self._fitted[name] = make()
        fitted: _Fitted = self._fitted[name]
        return fitted


def _source(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _replaced(chosen: Tensor, part: slice, entry: int) -> Tensor:
    """The chosen action with one head's entry exchanged."""
    changed = chosen.clone()
    changed[:, part] = 0.0
    changed[:, part.start + entry] = 1.0
    return changed
