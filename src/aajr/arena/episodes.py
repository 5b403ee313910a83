"""Whole episodes of a team under attack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic

import torch
from torch import Tensor

from aajr.adversaries import Adversary
from aajr.arena.agents import Act
from aajr.arena.critics import Experience
from aajr.arena.environments import Agent, Environment, Played
from aajr.arena.records import Score
from aajr.trajectory import Trajectory


@torch.no_grad()
def play(environment: Environment[Played], team: Act) -> Played:
    """Play all episodes to their end and return what was kept of them."""
    running = environment.reset()
    while not running.ended:
        running.step(team(running.observation))
    return running.record()


class _Past:
    """What an attack over an episode reads of earlier steps, one row per hider."""

    def __init__(self, memory: int) -> None:
        self.step = 0
        self._memory = memory
        self._previous = torch.empty(0)
        self._spent = torch.empty(0)
        self._history: list[Tensor] = []

    def data(self, x: Tensor) -> dict[str, Tensor]:
        """The adversary's data at clean inputs ``[rows, *event]``."""
        if self.step == 0:
            self._previous, self._spent = torch.zeros_like(x), x.new_zeros(len(x))
            self._history = [x] * self._memory
        time = torch.full((len(x),), self.step, device=x.device)
        data = {"time": time, "previous": self._previous, "spent": self._spent}
        if self._memory:
            data["history"] = torch.stack(self._history, 1)
        return data

    def add(self, x: Tensor, delta: Tensor, size: Tensor) -> None:
        """Take in one step: clean inputs, perturbation and its size ``[rows]``."""
        self.step += 1
        self._previous, self._spent = delta, self._spent + size
        self._history = [*self._history, x][1:]


class AttackedTeam:
    """The most likely actions of an agent that sees what the adversary shows it, for one match.

    The adversary is given, one row per agent of every episode: ``time`` the step, ``previous``
    δ_{t-1} (zero at first), ``spent`` Σ‖δ‖ of earlier steps, and ``history`` the clean inputs of
    the last steps, as many as its ``memory``, most recent last and the first one repeated.

    Args:
        actor: the victim.
        adversary: attacks every agent's observation at every step; None for a clean match.
        generator: source of the attack's randomness.
        on_logits: the adversary shifts the action's logits instead of the observation.

    Attributes:
        changed: share of actions that differ from the undisturbed choice, at every step.
        largest: greatest size of a perturbation.
        forward_passes: of the victim per decision, at every step.
        backward_passes: likewise.
    """

    def __init__(
        self,
        actor: Agent,
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
        self.forward_passes: list[float] = []
        self.backward_passes: list[float] = []
        self._past = _Past(int(getattr(adversary, "memory", 0)))

    def __call__(self, observation: Tensor) -> Tensor:
        """Actions under attack; records how far the attack reached and what it cost."""
        if self.adversary is None:
            return self.actor.act(self.actor(observation))
        flat = observation.flatten(0, 1)
        trajectory = self._attack(self.adversary, flat)
        worst = trajectory.worst
        action = self.actor.act(worst if self.on_logits else self.actor(worst))
        clean = self.actor.act(trajectory.reference.outputs)
        self.changed.append(float((action != clean).any(-1).float().mean()))
        self.forward_passes.append(float(trajectory.forward_passes))
        self.backward_passes.append(float(trajectory.backward_passes))
        return action.reshape(*observation.shape[:2], -1)

    def _attack(self, adversary: Adversary, observation: Tensor) -> Trajectory:
        if self.on_logits:
            x = self.actor(observation)
            data = self._past.data(x) | {"observation": observation}
            trajectory = adversary(torch.clone, x, self.generator, data)
        else:
            x = observation
            trajectory = adversary(self.actor, x, self.generator, self._past.data(x))
        delta = trajectory.worst - trajectory.origin
        size = adversary.ball.size(delta)
        self.largest = max(self.largest, float(size.max()))
        self._past.add(x, delta, size)
        return trajectory


@dataclass(frozen=True, eq=False)
class Outcome(Generic[Played]):
    """One match, what came of it, and what the attack cost.

    Attributes:
        score: its summary.
        record: how it was played.
        forward_passes: of the victim, mean per decision.
        backward_passes: likewise.
    """

    score: Score
    record: Played
    forward_passes: float
    backward_passes: float


def contest(match: Environment[Played], team: Act, attack: str, epsilon: float) -> Outcome[Played]:
    """Play and summarise; an attacked team must have been reached within the budget.

    Raises:
        RuntimeError: the perturbation left its ball, or never reached the policy.
    """
    record = play(match, team)
    changed, largest, forward, backward = 0.0, 0.0, 1.0, 0.0
    if isinstance(team, AttackedTeam) and team.adversary is not None:
        changed, largest = _mean(team.changed), team.largest
        forward, backward = _mean(team.forward_passes), _mean(team.backward_passes)
        if not 0 < largest <= epsilon * 1.001 + 1e-5:
            raise RuntimeError(
                f"attack {attack!r} at ε={epsilon} perturbed by {largest}; the perturbation must "
                "reach the policy and stay in its ball"
            )
    summary = Score(
        attack=attack,
        epsilon=epsilon,
        success=float(record.won.float().mean()),
        episodes=match.episodes,
        mean_return=float(record.reward.sum(1).mean()),
        changed_actions=changed,
        largest_perturbation=largest,
    )
    return Outcome(summary, record, forward, backward)


def score(match: Environment[Played], team: Act, attack: str, epsilon: float) -> Score:
    """The summary of :func:`contest`."""
    return contest(match, team, attack, epsilon).score


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def explore(match: Environment[Any], actor: Agent, share: float = 0.2) -> Experience:
    """Rollouts of the victim in which a share of the actions is uniformly random.

    Args:
        match: who plays.
        actor: the victim, sampling from its own distribution.
        share: share of random actions, which lets a Q learn what other actions are worth.
    """
    generator = torch.Generator().manual_seed(match.seed + 1)

    def act(observation: Tensor) -> Tensor:
        return actor.explore(actor(observation), share, generator)

    record = play(match, act)
    return Experience(record.observation, actor.encode(record.action), record.reward)
