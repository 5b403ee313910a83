"""Whole episodes of a team under attack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic

import torch
from torch import Tensor

from aajr._seeds import derive
from aajr.adversaries import Adversary, LyingSources
from aajr.arena.environments.protocols import AgentLike, Environment, Played, Recurrent
from aajr.arena.records.evaluation import Score
from aajr.geometry import Sparse
from aajr.trajectory import MEMORY, Reference, Trajectory, output_at

Act = Callable[[Tensor, Tensor], Tensor]
"""Function from a team's observations in the running episodes, ``[running, agents, features]``, and
the episodes' numbers ``[running]`` to its actions ``[running, agents, heads]``.
"""


@torch.no_grad()
def play(environment: Environment[Played], team: Act) -> Played:
    """Play all episodes to their end and return their record."""
    state = environment.reset()
    while len(episodes := state.running):
        state.step(team(state.observation, episodes))
    return state.record()


class _Rows:
    """Tensors with one row per agent of every episode, kept from step to step.

    A new episode begins with fresh rows, so that no value passes from one episode to another.
    """

    def __init__(self) -> None:
        self._kept: dict[str, Tensor] = {}

    def get(self, name: str, rows: Tensor, fresh: Callable[[int], Tensor]) -> Tensor:
        """The rows of a named tensor; ``fresh`` makes missing ones."""
        kept, needed = self._kept.get(name), int(rows.max()) + 1
        if kept is None:
            kept = fresh(needed)
        elif len(kept) < needed:
            kept = torch.cat([kept, fresh(needed - len(kept))])
        self._kept[name] = kept
        return kept[rows]

    def put(self, rows: Tensor, **values: Tensor) -> None:
        """Replace rows of tensors that :meth:`get` returned."""
        for name, value in values.items():
            self._kept[name] = self._kept[name].index_copy(0, rows, value)


class AttackedTeam:
    """The most likely actions of an agent under attack, for one match.

    The adversary's data have one row per agent of every running episode: ``time`` is the step,
    ``previous`` δ_{t-1} (zero at first), ``spent`` Σ‖δ‖ of earlier steps, and ``history`` the
    clean inputs of the last ``memory`` steps, most recent last; before the episode's start the
    first input is repeated. If the adversary needs ``liars``, the sources that lie to each agent
    are drawn once for the whole episode, or named by the adversary at the first step. A recurrent
    agent's memory follows the perturbed inputs, and each row is attacked with its own.

    Args:
        actor: the victim.
        adversary: attacks every agent's observation at every step; None for a clean match.
        generator: source of the attack's randomness.
        on_logits: whether the adversary shifts the action's logits instead of the observation.
        choose: function from outputs to actions; by default the most likely ones.

    Attributes:
        changed: share of actions that differ from those without attack, at every step.
        largest: greatest norm of a perturbation.
        forward_passes: forward passes of the victim per decision, at every step.
        backward_passes: backward passes of the victim per decision, at every step.
    """

    def __init__(
        self,
        actor: AgentLike,
        adversary: Adversary | None,
        generator: torch.Generator,
        on_logits: bool = False,
        choose: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.actor = actor
        self.adversary = adversary
        self.generator = generator
        self.on_logits = on_logits
        self.choose = choose or actor.head.act
        self.changed: list[float] = []
        self.largest = 0.0
        self.forward_passes: list[float] = []
        self.backward_passes: list[float] = []
        self._rows = _Rows()

    def __call__(self, observation: Tensor, episodes: Tensor | None = None) -> Tensor:
        """Actions under attack; records the size of the perturbation and the cost of the attack.

        Args:
            observation: ``[running, agents, features]``.
            episodes: numbers of the running episodes; all by default.
        """
        running, agents = observation.shape[:2]
        episodes = torch.arange(running) if episodes is None else episodes
        rows = (episodes[:, None] * agents + torch.arange(agents)).flatten()
        x = observation.flatten(0, 1)
        memory = None
        if isinstance(self.actor, Recurrent):
            memory = self._rows.get("memory", rows, self.actor.begin)
        if self.adversary is None:
            action = self.choose(self._decide(x, memory, rows))
        else:
            action = self._attacked(self.adversary, x, memory, rows)
        return action.reshape(running, agents, -1)

    def _attacked(
        self, adversary: Adversary, x: Tensor, memory: Tensor | None, rows: Tensor
    ) -> Tensor:
        found = self._attack(adversary, x, memory, rows)
        outputs = self._decide(x if self.on_logits else found.worst, memory, rows)
        action = self.choose(found.worst if self.on_logits else outputs)
        clean = self.choose(found.reference.outputs)
        self.changed.append(float((action != clean).any(-1).float().mean()))
        self.forward_passes.append(float(found.forward_passes))
        self.backward_passes.append(float(found.backward_passes))
        return action

    def _decide(self, shown: Tensor, memory: Tensor | None, rows: Tensor) -> Tensor:
        """Outputs at the shown input; a recurrent agent updates its memory with it."""
        if memory is None or not isinstance(self.actor, Recurrent):
            outputs = self.actor(shown)
        else:
            outputs, memory = self.actor.recall(shown, memory)
            self._rows.put(rows, memory=memory)
        self._check(outputs, shown, rows)
        return outputs

    def _check(self, outputs: Tensor, shown: Tensor, rows: Tensor) -> None:
        """Raise ValueError if the agent answers NaN, which stands for no action."""
        broken = outputs.isnan().flatten(1).any(1)
        if bool(broken.any()):
            first = int(broken.nonzero()[0])
            raise ValueError(
                f"the agent returned NaN in {int(broken.sum())} of {len(broken)} running episodes, "
                f"first in row {int(rows[first])}, where it saw {shown[first].tolist()[:8]}"
            )

    def _attack(
        self, adversary: Adversary, x: Tensor, memory: Tensor | None, rows: Tensor
    ) -> Trajectory:
        """Attack all rows at once."""
        policy: Any = self.actor
        data: dict[str, Tensor] = {}
        if memory is not None and isinstance(self.actor, Recurrent):
            policy, data = _Remembering(self.actor), {MEMORY: memory}
        if self.on_logits:
            shown = Reference(x, x, data)
            x, policy, data = output_at(policy, x, shown), torch.clone, {"observation": x}
        past = self._past(adversary, x, rows)
        found = adversary(policy, x, self.generator, data | past)
        delta = found.worst - found.origin
        if "liars" in past:
            past["liars"] = found.reference.data["liars"]
        self._note(x, delta, adversary.ball.size(delta), past, rows)
        return found

    def _note(
        self, x: Tensor, delta: Tensor, size: Tensor, past: dict[str, Tensor], rows: Tensor
    ) -> None:
        """Keep the data that the adversary reads at the next step."""
        self.largest = max(self.largest, float(size.max()))
        kept = {"time": past["time"] + 1, "previous": delta, "spent": past["spent"] + size}
        if "liars" in past:
            kept["liars"] = past["liars"]
        if "history" in past:
            kept["history"] = torch.cat([past["history"][:, 1:], x.unsqueeze(1)], 1)
        self._rows.put(rows, **kept)

    def _past(self, adversary: Adversary, x: Tensor, rows: Tensor) -> dict[str, Tensor]:
        """The data about earlier steps that the adversary reads."""
        event, memory = x.shape[1:], int(getattr(adversary, "memory", 0))
        time = self._rows.get("time", rows, lambda n: torch.zeros(n, dtype=torch.long))
        previous = self._rows.get("previous", rows, lambda n: x.new_zeros(n, *event))
        spent = self._rows.get("spent", rows, lambda n: x.new_zeros(n))
        data = {"time": time, "previous": previous, "spent": spent}
        if memory:
            history = self._rows.get("history", rows, lambda n: x.new_zeros(n, memory, *event))
            first = time.reshape(-1, *[1] * x.ndim) == 0
            data["history"] = torch.where(first, x.unsqueeze(1), history)
        if "liars" in adversary.needs:
            draw = partial(_liars, adversary, x[:1], self.generator)
            data["liars"] = self._rows.get("liars", rows, draw)
        return data


class _Remembering:
    """A recurrent agent as a map from observations and memories to outputs, row by row."""

    remembers = True

    def __init__(self, agent: Recurrent) -> None:
        self.agent = agent

    def __call__(self, x: Tensor, memory: Tensor) -> Tensor:
        return self.agent.recall(x, memory)[0]


def _liars(adversary: Adversary, x: Tensor, generator: torch.Generator, rows: int) -> Tensor:
    """Liars at an episode's start; none for an adversary that names them itself."""
    if isinstance(adversary, LyingSources):
        return adversary.drawn(x.expand(rows, *x.shape[1:]), generator)
    sources = len(adversary.ball.members(x)) if isinstance(adversary.ball, Sparse) else 0
    return torch.zeros(rows, sources, dtype=torch.bool)


@dataclass(frozen=True, eq=False)
class Outcome(Generic[Played]):
    """Result of one match, and cost of the attack.

    Attributes:
        score: summary of the match.
        record: record of the episodes.
        forward_passes: mean forward passes of the victim per decision.
        backward_passes: mean backward passes of the victim per decision.
    """

    score: Score
    record: Played
    forward_passes: float
    backward_passes: float


def contest(
    match: Environment[Played],
    team: Act,
    attack: str,
    epsilon: float,
    *,
    may_find_none: bool = False,
) -> Outcome[Played]:
    """Play a match and summarise it; check that perturbations are positive and in the ball.

    Args:
        match: the environment.
        team: the protected team.
        attack: name of the attack.
        epsilon: radius of its ball.
        may_find_none: whether all perturbations may be zero, as against a policy that ignores its
            input.

    Raises:
        RuntimeError: a perturbation left its ball, or all perturbations are zero.
    """
    record = play(match, team)
    changed, largest, forward, backward = 0.0, 0.0, 1.0, 0.0
    if isinstance(team, AttackedTeam) and team.adversary is not None:
        changed, largest = _mean(team.changed), team.largest
        forward, backward = _mean(team.forward_passes), _mean(team.backward_passes)
        found = largest > 0 or may_find_none
        if not (found and largest <= epsilon * 1.001 + 1e-5):
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
    """Play a match as :func:`contest` and return its summary alone."""
    return contest(match, team, attack, epsilon).score


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


@dataclass(frozen=True, eq=False)
class Experience:
    """Observations, actions and rewards of the victim.

    Attributes:
        observation: clean observations, ``[episodes, steps, agents, features]``.
        action: actions encoded for Q, for instance one-hot, ``[episodes, steps, agents, numbers]``.
        reward: ``[episodes, steps, agents]``, 0 after an episode's end.
        played: steps that were played, boolean ``[episodes, steps]``; all if None.
    """

    observation: Tensor
    action: Tensor
    reward: Tensor
    played: Tensor | None = None


def explore(match: Environment[Any], actor: AgentLike, share: float = 0.2) -> Experience:
    """Rollouts of the victim in which a share of the actions is uniformly random.

    Args:
        match: the environment.
        actor: the victim, which samples from its own distribution.
        share: share of random actions, from which a Q learns the value of other actions.
    """
    generator = torch.Generator().manual_seed(derive(match.seed, "explore"))
    choose = partial(actor.head.explore, share=share, generator=generator)
    record = play(match, AttackedTeam(actor, None, generator, choose=choose))
    action = actor.head.encode(record.action)
    return Experience(record.observation, action, record.reward, record.played)
