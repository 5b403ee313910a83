"""Whole episodes of the hiders under attack, against frozen seekers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
import vmas
from torch import Tensor

from aajr._checks import check_count
from aajr.adversaries import Adversary
from aajr.arena.agents import ACTION_HEADS, Actor, greedy_heads, sample_heads
from aajr.arena.critics import Experience, one_hot
from aajr.arena.records import Score
from aajr.hide_and_seek.game import HideAndSeek, HideAndSeekConfig, hiders_success
from aajr.trajectory import Trajectory

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
        sighted: 1 where a seeker sees the hider after a step, ``[episodes, steps, hiders]``.
        sighting: 1 where the seeker sees a hider after a step, ``[episodes, steps, seekers]``.
        opponent_action: of the seekers, ``[episodes, steps, seekers, heads]``.
        agents: positions at the start and after every step, hiders first,
            ``[episodes, steps + 1, agents, 2]``.
        boxes: centres, likewise, ``[episodes, steps + 1, boxes, 2]``.
        holder: index of the agent that holds a box, or -1, ``[episodes, steps + 1, boxes]``.
        lock: 0 unlocked, 1 locked by hiders, 2 by seekers, ``[episodes, steps + 1, boxes]``.
    """

    observation: Tensor
    action: Tensor
    reward: Tensor
    sighted: Tensor
    sighting: Tensor
    opponent_action: Tensor
    agents: Tensor
    boxes: Tensor
    holder: Tensor
    lock: Tensor

    @property
    def seen(self) -> Tensor:
        """Hiders seen at the last step, ``[episodes, hiders]``."""
        return self.sighted[:, -1]


@torch.no_grad()
def play(match: Match, hiders: Hiders) -> Record:
    """Play the match and keep what the hiders saw, did and earned, and where everything was."""
    config, scenario = match.config, HideAndSeek(match.config)
    generator = torch.Generator().manual_seed(match.seed)
    env = vmas.make_env(
        scenario,
        num_envs=match.episodes,
        seed=match.seed,
        max_steps=config.max_steps,
        continuous_actions=False,
        multidiscrete_actions=True,
    )
    views = env.reset(seed=match.seed)
    frames: dict[str, list[Tensor]] = {part.name: [] for part in fields(Record)}
    _keep_places(frames, scenario)
    for _ in range(config.max_steps):
        mine = torch.stack(views[: config.n_hiders], 1)
        theirs = torch.stack(views[config.n_hiders :], 1)
        action, answer = hiders(mine), _seek(match, theirs, generator)
        views, gains, _, infos = env.step(list(torch.cat([action, answer], 1).unbind(1)))
        frames["observation"].append(mine)
        frames["action"].append(action)
        frames["opponent_action"].append(answer)
        frames["reward"].append(torch.stack(gains[: config.n_hiders], 1))
        seen = torch.stack([info["seen"] for info in infos], 1)
        frames["sighted"].append(seen[:, : config.n_hiders])
        frames["sighting"].append(seen[:, config.n_hiders :])
        _keep_places(frames, scenario)
    return Record(**{name: torch.stack(values, 1) for name, values in frames.items()})


def _keep_places(frames: dict[str, list[Tensor]], scenario: HideAndSeek) -> None:
    for name in ("agents", "boxes", "holder", "lock"):
        frames[name].append(getattr(scenario.state, name))


def _seek(match: Match, observation: Tensor, generator: torch.Generator) -> Tensor:
    shares = observation.tensor_split(len(match.opponents))
    return torch.cat(
        [
            sample_heads(actor(share), actor.heads, generator)
            for actor, share in zip(match.opponents, shares, strict=True)
        ]
    )


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


class AttackedHiders:
    """The most likely actions of an actor that sees what the adversary shows it, for one match.

    The adversary is given, one row per hider of every episode: ``time`` the step, ``previous``
    δ_{t-1} (zero at first), ``spent`` Σ‖δ‖ of earlier steps, and ``history`` the clean inputs of
    the last steps, as many as its ``memory``, most recent last and the first one repeated.

    Args:
        actor: the victim.
        adversary: attacks every hider's observation at every step; None for a clean match.
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
        self.forward_passes: list[float] = []
        self.backward_passes: list[float] = []
        self._past = _Past(int(getattr(adversary, "memory", 0)))

    def __call__(self, observation: Tensor) -> Tensor:
        """Actions under attack; records how far the attack reached and what it cost."""
        if self.adversary is None:
            return greedy_heads(self.actor(observation), self.actor.heads)
        flat = observation.flatten(0, 1)
        trajectory = self._attack(self.adversary, flat)
        worst = trajectory.worst
        attacked = worst if self.on_logits else self.actor(worst)
        action = greedy_heads(attacked, self.actor.heads)
        clean = greedy_heads(trajectory.reference.outputs, self.actor.heads)
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
class Outcome:
    """One match, what came of it, and what the attack cost.

    Attributes:
        score: its summary.
        record: how it was played.
        won: episodes that the hiders won, boolean ``[episodes]``.
        forward_passes: of the victim, mean per decision.
        backward_passes: likewise.
    """

    score: Score
    record: Record
    won: Tensor
    forward_passes: float
    backward_passes: float


def contest(match: Match, hiders: Hiders, attack: str, epsilon: float) -> Outcome:
    """Play and summarise; an attacked team must have been reached within the budget.

    Raises:
        RuntimeError: the perturbation left its ball, or never reached the policy.
    """
    record = play(match, hiders)
    won = hiders_success(record.seen, match.config.hidden_for_success)
    changed, largest, forward, backward = 0.0, 0.0, 1.0, 0.0
    if isinstance(hiders, AttackedHiders) and hiders.adversary is not None:
        changed, largest = _mean(hiders.changed), hiders.largest
        forward, backward = _mean(hiders.forward_passes), _mean(hiders.backward_passes)
        if not 0 < largest <= epsilon * 1.001 + 1e-5:
            raise RuntimeError(
                f"attack {attack!r} at ε={epsilon} perturbed by {largest}; the perturbation must "
                "reach the policy and stay in its ball"
            )
    summary = Score(
        attack=attack,
        epsilon=epsilon,
        success=float(won.float().mean()),
        episodes=match.episodes,
        mean_return=float(record.reward.sum(1).mean()),
        changed_actions=changed,
        largest_perturbation=largest,
    )
    return Outcome(summary, record, won, forward, backward)


def score(match: Match, hiders: Hiders, attack: str, epsilon: float) -> Score:
    """The summary of :func:`contest`."""
    return contest(match, hiders, attack, epsilon).score


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


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
