"""The attacker's side of an environment, for any library that trains agents."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from aajr._checks import check_choice
from aajr._modes import Policy
from aajr._seeds import derive
from aajr.adversaries import Adversary, MaskedGradientWarning
from aajr.arena.attacks.action_threat import on_actions
from aajr.arena.attacks.learned import (
    AttackerConfig,
    Kind,
    build_attack,
    commands_of,
    scored_sources,
)
from aajr.arena.attacks.suites import AttackSpec
from aajr.arena.attacks.victim import Victim
from aajr.arena.environments.episodes import AttackedTeam
from aajr.arena.environments.protocols import AgentLike, Environment, Stepping
from aajr.arena.environments.seeing import seen_by
from aajr.arena.settings import Effort
from aajr.arena.threats import Threat
from aajr.geometry import Ball, Sparse
from aajr.trajectory import Reference, Trajectory

import gymnasium  # isort: skip - after the modules that say how to install it


class AdversaryEnv(gymnasium.Env[np.ndarray, np.ndarray]):  # type: ignore[misc]
    """An environment of Gymnasium in which the agent is the attacker of a frozen victim.

    It sees what the environment shows the victim, before the attack. Its reward is minus the
    victim's. See :func:`adversary_env` for its actions. In an environment of several agents under
    attack it sees what all of them are shown, one after the other, attacks each of them with its
    part of the action, and its reward is minus the mean of theirs.

    Args:
        victim: the victim with its environment and threat.
        ball: the threat set.
        kind: ``sa_rl`` or ``pa_ad``.
        steps: steps of projected gradient ascent towards a direction (``pa_ad`` only).

    Raises:
        ValueError: an unknown kind, an environment that is not played step by step.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - the base class declares it so

    def __init__(self, victim: Victim, ball: Ball | Sparse, kind: Kind, steps: int = 1) -> None:
        check_choice("kind", kind, ("sa_rl", "pa_ad"))
        self.victim, self.ball = victim, ball
        example = torch.zeros(1, victim.match.features)
        size = commands_of(kind, ball, victim.actor, example)
        size += scored_sources(ball, example)
        count = victim.match.agents
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (count * len(example[0]),))
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (count * size,))
        self._told = _Told(_attack(kind, ball, _absent, steps))
        self._state: Stepping | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode, the only one of ``environment.resized(1, seed)``.

        Without a seed it is drawn from the generator that the latest seed began.
        """
        super().reset(seed=seed)
        number = int(self.np_random.integers(2**31)) if seed is None else seed
        state = self.victim.match.resized(1, number).reset()
        if not hasattr(type(state), "latest"):
            raise ValueError(
                f"{type(self.victim.match).__name__} does not tell rewards before its end; give an "
                "environment of Gymnasium"
            )
        source = torch.Generator().manual_seed(derive(number, "attack"))
        self._team = AttackedTeam(self.victim.actor, self._told, source)
        self._state = cast(Stepping, state)
        return state.observation[0].flatten().numpy(), {}

    @torch.no_grad()
    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Perturb what the victim sees as the action says, and let it act.

        Returns:
            The next observation, minus the victim's reward, whether the episode came to its own
            end, whether a time limit cut it, and ``victim_reward``, the mean over the agents.
        """
        state = self._state
        if state is None or not len(state.running):
            raise gymnasium.error.ResetNeeded("the episode has ended; call reset() first")
        command = torch.as_tensor(action, dtype=torch.float32)
        self._told.command = command.reshape(self.victim.match.agents, -1)
        with warnings.catch_warnings():
            # the output need not follow every direction from every source
            warnings.simplefilter("ignore", MaskedGradientWarning)
            chosen = self._team(state.observation, torch.zeros(1, dtype=torch.long))
        state.step(chosen)
        latest = state.latest
        reward = float(latest.reward[0].mean())
        ends = bool(latest.terminated[0]), bool(latest.truncated[0])
        # an agent that has left shows zeros while the others play on
        seen = state.observation if len(state.running) else latest.observation
        return seen[0].flatten().numpy(), -reward, *ends, {"victim_reward": reward}

    def close(self) -> None:
        """Forget the episode."""
        self._state = None


def adversary_env(
    agent: AgentLike,
    environment: Environment[Any] | Any,
    ball: Ball,
    kind: Kind = "sa_rl",
    *,
    threat: Threat = "full",
    steps: int = 1,
) -> AdversaryEnv:
    """An environment of Gymnasium whose agent attacks ``agent``, for any library to train.

    The action's numbers lie in [-1, 1]. With ``sa_rl`` there is one for each attackable feature,
    the perturbation divided by the greatest one, δ_i / (ε s_i); δ is then projected on the ball.
    With ``pa_ad`` there is one for each output of the agent, a direction in which projected
    gradient ascent pushes the output. Under ``threat="reports"`` a score for each source follows,
    and the k sources of greatest score lie. Where several agents are attacked, such as a coalition
    in :class:`~aajr.arena.environments.pettingzoo.PettingZooEnvironment`, the numbers of all of
    them follow each other, in the order of the team. Under ``threat="actions"`` δ changes what the
    agent does, and the attacker sees the agent's choice too, see
    :func:`~aajr.arena.attacks.action_threat.on_actions`.

    Args:
        agent: the victim; it does not learn.
        environment: an environment of the arena, or whatever
            :class:`~aajr.arena.environments.gymnasium.GymnasiumEnvironment` takes.
        ball: the threat set; under ``reports`` only its radius counts.
        kind: what an action is: a perturbation or a direction.
        threat: ``full``, ``actions``, or ``reports`` for an environment of sources.
        steps: steps of projected gradient ascent (``pa_ad`` only).

    Raises:
        ValueError: an agent that does not fit the environment, an unknown kind.

    Example:
        >>> from aajr.arena.agents.actors import Actor
        >>> env = adversary_env(Actor(4, (2,)), "CartPole-v1", Ball("linf", 0.1))
        >>> env.action_space.shape, env.observation_space.shape
        ((4,), (4,))

    Source: Zhang et al., 2021, https://arxiv.org/abs/2101.08452 (SA-RL); Sun et al., 2022,
    https://arxiv.org/abs/2106.05087 (PA-AD).
    """
    match = seen_by(agent, environment, 1, 0)
    if threat == "actions":
        agent, match, ball = on_actions(agent, match, ball)
    template = None if threat == "reports" else ball
    victim = Victim(agent, match, threat, Effort(), template=template)
    return AdversaryEnv(victim, _threat_set(victim.ball(ball.epsilon), victim), kind, steps)


def trained_attack(
    policy: Any, kind: Kind = "sa_rl", *, name: str = "trained", steps: int = 1
) -> AttackSpec:
    """The attack of a policy that was trained in :func:`adversary_env`, for a suite.

    Args:
        policy: function from observations ``[rows, features]`` to actions ``[rows, actions]`` of
            that environment, or an object whose ``predict(observation, deterministic=True)``
            returns the actions first, as Stable-Baselines3's models do.
        kind: the kind with which it was trained.
        name: name of the attack in results.
        steps: as in :func:`adversary_env`.
    """
    network = policy
    if hasattr(policy, "predict"):

        def network(observation: Tensor) -> Tensor:
            return torch.as_tensor(policy.predict(observation.numpy(), deterministic=True)[0])

    def build(ball: Ball, victim: Victim) -> Adversary:
        command = _of_each(_clipped(network), victim.match.agents)
        return _attack(kind, _threat_set(ball, victim), command, steps)

    return AttackSpec(name, "learned", build, ("full", "others", "reports", "actions"))


class _Told(Adversary):
    """An adversary that carries out the command that it was told last, ``[rows, commands]``."""

    def __init__(self, adversary: Adversary) -> None:
        self.adversary, self.ball = adversary, adversary.ball
        self.command = torch.zeros(1, 0)

    def run(self, policy: Policy, reference: Reference, generator: torch.Generator) -> Trajectory:
        data = {**reference.data, "command": self.command}
        return self.adversary.run(policy, replace(reference, data=data), generator)


def _attack(
    kind: Kind, ball: Ball | Sparse, network: Callable[[Tensor], Tensor], steps: int
) -> Adversary:
    return build_attack(kind, ball, network, AttackerConfig(steps=steps), squash=False)


def _threat_set(ball: Ball, victim: Victim) -> Ball | Sparse:
    if victim.threat != "reports":
        return ball
    return Sparse(ball, victim.match.liars, victim.match.sources)


def _clipped(network: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda observation: network(observation).clamp(-1, 1)


def _of_each(network: Callable[[Tensor], Tensor], agents: int) -> Callable[[Tensor], Tensor]:
    """A network that sees all agents of an episode, as one whose rows are the agents."""

    def command(observation: Tensor) -> Tensor:
        stacked = network(observation.reshape(-1, agents * observation.shape[1]))
        return stacked.reshape(len(observation), -1)

    return command


def _absent(observation: Tensor) -> Tensor:
    raise ValueError("no command was given")
