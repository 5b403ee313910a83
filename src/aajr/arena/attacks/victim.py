"""The attacked agent with its fitted critics, imitation and learned attackers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from aajr._checks import check_choice
from aajr._seeds import derive
from aajr.adversaries import (
    Adversary,
    Critic,
    Divergence,
    Imitation,
    imitate,
    objective_scale,
)
from aajr.arena.attacks.critics import OnlineValue, fit_critic, fit_robust_sarsa
from aajr.arena.attacks.learned import AttackerConfig, Kind, train_attacker
from aajr.arena.environments.acting import WithActions
from aajr.arena.environments.episodes import Experience, explore
from aajr.arena.environments.protocols import AgentLike, Environment
from aajr.arena.settings import USUAL, Effort, Learning
from aajr.arena.threats import THREATS, Threat
from aajr.arena.training.ppo import PPOConfig
from aajr.geometry import Ball, Metric, Sparse
from aajr.trajectory import Objective

_Fitted = TypeVar("_Fitted")


@dataclass(frozen=True, eq=False)
class Victim:
    """A policy under evaluation, with models that are fitted to it once, at their first use.

    Every fit has its own seed, so the order in which attacks are built does not matter.

    Attributes:
        actor: the policy.
        match: the environment.
        threat: name of the threat model.
        effort: effort of the attacks.
        directory: directory of the learned attackers' checkpoints; None to keep none.
        template: the threat set whose norm, mask, scale and valid box every radius shares; by
            default the L∞ ball of all features that the threat may change.

    Raises:
        ValueError: an unknown threat, an agent that does not read this environment's observations,
            a mask of another shape, or a template for the threat ``actions``.
    """

    actor: AgentLike
    match: Environment[Any]
    threat: Threat
    effort: Effort
    directory: Path | None = None
    template: Ball | None = None
    _fitted: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        check_choice("threat", self.threat, tuple(THREATS))
        features = self.match.features
        if self.actor.features != features:
            raise ValueError(
                f"the agent reads {self.actor.features} features, the environment shows "
                f"{features}; give the configuration that the agent was trained with"
            )
        if self.template is not None:
            if self.on_logits:
                raise ValueError(f"threat={self.threat!r} has a ball of its own; give no template")
            self.ball(self.template.epsilon).check(torch.zeros(1, features))

    @property
    def on_logits(self) -> bool:
        """Whether the adversary shifts the logits: under ``actions``, where none are shown."""
        return self.threat == "actions" and not isinstance(self.match, WithActions)

    @cached_property
    def mask(self) -> Tensor | None:
        """Mask of the attackable features, ``[features]``; None for logits."""
        if self.on_logits:
            return None
        attackable, template = self.match.attackable(self.threat), self.template
        if template is None or template.mask is None:
            return attackable
        if template.mask.shape not in ((), attackable.shape):
            raise ValueError(
                f"mask has shape {tuple(template.mask.shape)}; give one entry for each of the "
                f"{len(attackable)} features"
            )
        return attackable & template.mask

    @property
    def metric(self) -> Metric:
        """Geometry of the outputs."""
        return self.actor.head.metric

    @property
    def unit(self) -> str:
        """Norm and unit of ε."""
        if self.on_logits:
            return "L∞, logits"
        return f"{'L2' if self._norm == 'l2' else 'L∞'}, {self.actor.unit}"

    @property
    def divergence(self) -> Objective:
        """The objective of MAD: the change of the action distribution."""
        return Divergence(self.metric)

    def ball(self, epsilon: float) -> Ball:
        """The ball of the threat with radius ε; reports also keep to what a source can claim."""
        own = self.template or Ball("linf", epsilon)
        low, high = self.match.claims if self.threat == "reports" else (None, None)
        low = low if own.low is None else own.low
        high = high if own.high is None else own.high
        return replace(own, epsilon=epsilon, mask=self.mask, low=low, high=high)

    def critic(self, index: int) -> OnlineValue:
        """A Q fitted to its own rollouts; the index chooses its seed."""
        seed = derive(self.match.seed, "critic", index)
        return self.fitted(
            f"critic_{index}",
            lambda: fit_critic(
                self._rollouts(seed), _source(seed), updates=self.effort.critic_updates
            ),
        )

    def robust_sarsa(self, weight: float) -> OnlineValue:
        """A Q by Robust Sarsa, where ``weight`` is κ of its regulariser."""
        seed = derive(self.match.seed, "robust sarsa")
        low, high = limits = self.actor.head.limits
        return self.fitted(
            f"robust_sarsa_{weight:g}",
            lambda: fit_robust_sarsa(
                self._rollouts(seed),
                _source(seed),
                weight=weight,
                radius=0.1 * (high - low),
                limits=limits,
                updates=self.effort.critic_updates,
            ),
        )

    def fitted(self, name: str, fit: Callable[[], tuple[OnlineValue, float]]) -> OnlineValue:
        """A named Q, fitted at its first use; its R² is added to the preparation."""

        def noted() -> OnlineValue:
            with torch.enable_grad():  # its first use may be in the middle of an episode
                critic, quality = fit()
            self._note(f"{name}_r2", quality)
            return critic

        return self._once(name, noted)

    @property
    def preparation(self) -> dict[str, float]:
        """Held-out R² of everything fitted so far, and the number of the imitation's queries."""
        facts: dict[str, float] = self._fitted.get("facts", {})
        return dict(facts)

    def least(self, value: OnlineValue, on_logits: bool | None = None) -> Objective:
        """The objective -Q(s, a), greatest for the action of least value in the true state."""
        logits = self.on_logits if on_logits is None else on_logits
        return Critic(value, self.actor.head.relaxed, "observation" if logits else None)

    def state_value(self, observation: Tensor) -> Tensor:
        """V(o) ``[batch, 1]``: the agent's own V, or Q(o, π(o)) of the first critic."""
        own = self.actor.value
        if own is not None:
            return own(observation).unsqueeze(-1)
        action = self.actor.head.relaxed(self.actor(observation))
        value: Tensor = self.critic(0)(observation, action)
        return value.unsqueeze(-1)

    def least_action(self, observation: Tensor) -> Tensor:
        """Outputs ``[batch, outputs]`` of an action of little value under the first critic.

        Each part of the action is the worst one while the others stay at the policy's choice.
        """
        value = partial(self.critic(0), observation)
        with torch.no_grad():
            return self.actor.head.least(self.actor(observation), value)

    def scale(self, objective: Objective, ball: Ball) -> float:
        """Scale of an objective in a ball around the victim's states, for mixtures."""
        states, source = self.states[:1024], _source(derive(self.match.seed, "scale"))
        if not self.on_logits:
            return objective_scale(objective, self.actor, states, ball, source)
        with torch.no_grad():
            logits = self.actor(states)
        data = {"observation": states}
        return objective_scale(objective, torch.clone, logits, ball, source, data=data)

    @property
    def states(self) -> Tensor:
        """Observations from the victim's rollouts, ``[states, features]``, at most 4096."""
        return self._once("states", self._states)

    @property
    def imitation(self) -> Imitation:
        """A network that imitates the victim, fitted to its outputs on :attr:`states` alone."""

        def fit() -> Imitation:
            seed = derive(self.match.seed, "imitation")
            copy = imitate(self.actor, self.states, _source(seed))
            self._note("imitation_r2", 1 - copy.error)
            self._note("imitation_queries", copy.queries)
            return copy

        return self._once("imitation", fit)

    def attacker(
        self,
        kind: Kind,
        ball: Ball | Sparse,
        *,
        keep_liars: bool = False,
        learning: Learning = USUAL,
    ) -> Adversary:
        """A learned attacker, trained on this victim at the ball's ε in this environment.

        In a :class:`~aajr.geometry.Sparse` set it also chooses the groups that change, at every
        step or with ``keep_liars`` for a whole episode.
        """
        effort = self.effort
        ppo = PPOConfig(
            environments=effort.attacker_environments,
            epochs=4,
            learning_rate=learning.learning_rate,
            discount=learning.discount,
            entropy=learning.entropy,
        )
        config = AttackerConfig(
            effort.attacker_iterations, ppo, keep_liars=keep_liars, coverage=learning.coverage
        )
        name = learning.named(f"{kind}_{ball.epsilon:g}{'_fixed' if keep_liars else ''}")
        place = None if self.directory is None else self.directory / name
        seed = derive(self.match.seed, "attacker")
        return train_attacker(self.actor, self.match, ball, kind, config, place, seed)

    @property
    def _norm(self) -> str:
        return "linf" if self.template is None else self.template.norm

    def _rollouts(self, seed: int) -> Experience:
        return explore(self.match.resized(self.effort.critic_episodes, seed), self.actor)

    def _states(self) -> Tensor:
        seed = derive(self.match.seed, "states")
        states = self._rollouts(seed).observation.flatten(0, 2)
        return states[torch.randperm(len(states), generator=_source(seed))[:4096]]

    def _note(self, name: str, value: float) -> None:
        self._fitted.setdefault("facts", {})[name] = value

    def _once(self, name: str, make: Callable[[], _Fitted]) -> _Fitted:
        if name not in self._fitted:
            self._fitted[name] = make()
        fitted: _Fitted = self._fitted[name]
        return fitted


def _source(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
