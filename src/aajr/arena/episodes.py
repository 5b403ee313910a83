"""Whole episodes of a team under attack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic

import torch
from torch import Tensor

from aajr._modes import Policy
from aajr._seeds import derive
from aajr.adversaries import Adversary, LyingSources
from aajr.arena.critics import Experience
from aajr.arena.environments import Agent, Environment, Played, Recurrent
from aajr.arena.records import Score
from aajr.trajectory import Trajectory

Act = Callable[[Tensor, Tensor], Tensor]
"""From what a team sees in the episodes that run, ``[running, agents, features]``, and their
numbers ``[running]`` to its actions ``[running, agents, heads]``.
"""


@torch.no_grad()
def play(environment: Environment[Played], team: Act) -> Played:
    """Play all episodes to their end and return what was kept of them."""
    state = environment.reset()
    while len(episodes := state.running):
        state.step(team(state.observation, episodes))
    return state.record()


class _Rows:
    """Tensors with one row per agent of every episode, kept from step to step.

    An episode that was not met before begins with fresh rows, so that nothing of one episode
    reaches another.
    """

    def __init__(self) -> None:
        self._kept: dict[str, Tensor] = {}

    def get(self, name: str, rows: Tensor, fresh: Callable[[int], Tensor]) -> Tensor:
        """The rows of a tensor; ``fresh`` gives new ones."""
        kept, needed = self._kept.get(name), int(rows.max()) + 1
        if kept is None:
            kept = fresh(needed)
        elif len(kept) < needed:
            kept = torch.cat([kept, fresh(needed - len(kept))])
        self._kept[name] = kept
        return kept[rows]

    def put(self, rows: Tensor, **values: Tensor) -> None:
        """Replace rows of tensors that :meth:`get` gave."""
        for name, value in values.items():
            self._kept[name] = self._kept[name].index_copy(0, rows, value)


class AttackedTeam:
    """The most likely actions of an agent that sees what the adversary shows it, for one match.

    The adversary is given, one row per agent of every episode that runs: ``time`` the step,
    ``previous`` δ_{t-1} (zero at first), ``spent`` Σ‖δ‖ of earlier steps, and ``history`` the
    clean inputs of the last steps, as many as its ``memory``, most recent last and the first one
    repeated. If it needs ``liars``, the sources that lie to each agent are drawn once for the
    whole episode. A recurrent agent remembers what it was shown; it is attacked row by row, each
    with its own memory.

    Args:
        actor: the victim.
        adversary: attacks every agent's observation at every step; None for a clean match.
        generator: source of the attack's randomness.
        on_logits: the adversary shifts the action's logits instead of the observation.
        choose: from outputs to actions; the most likely ones by default.

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
        """Actions under attack; records how far the attack reached and what it cost.

        Args:
            observation: ``[running, agents, features]``.
            episodes: numbers of the episodes that run; all by default.
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
        worst = torch.cat([one.worst for one in found])
        outputs = self._decide(x if self.on_logits else worst, memory, rows)
        action = self.choose(worst if self.on_logits else outputs)
        clean = self.choose(torch.cat([one.reference.outputs for one in found]))
        self.changed.append(float((action != clean).any(-1).float().mean()))
        self.forward_passes.append(_mean([float(one.forward_passes) for one in found]))
        self.backward_passes.append(_mean([float(one.backward_passes) for one in found]))
        return action

    def _decide(self, shown: Tensor, memory: Tensor | None, rows: Tensor) -> Tensor:
        """Outputs at what is shown, which a recurrent agent then remembers."""
        if memory is None or not isinstance(self.actor, Recurrent):
            return self.actor(shown)
        outputs, memory = self.actor.recall(shown, memory)
        self._rows.put(rows, memory=memory)
        return outputs

    def _attack(
        self, adversary: Adversary, x: Tensor, memory: Tensor | None, rows: Tensor
    ) -> list[Trajectory]:
        """The attack of all rows at once, or of each by itself where it has its own memory."""
        policies, parts = self._policies(memory), [slice(None)]
        if memory is not None:
            parts = [slice(k, k + 1) for k in range(len(x))]
        data: dict[str, Tensor] = {}
        if self.on_logits:
            data = {"observation": x}
            x = torch.cat([policy(x[part]) for policy, part in zip(policies, parts, strict=True)])
            policies, parts = [torch.clone], [slice(None)]
        past = self._past(adversary, x, rows)
        data |= past
        found = [
            adversary(policy, x[part], self.generator, {k: v[part] for k, v in data.items()})
            for policy, part in zip(policies, parts, strict=True)
        ]
        delta = torch.cat([one.worst - one.origin for one in found])
        self._note(x, delta, adversary.ball.size(delta), past, rows)
        return found

    def _note(
        self, x: Tensor, delta: Tensor, size: Tensor, past: dict[str, Tensor], rows: Tensor
    ) -> None:
        """Keep what an attack over an episode reads at the next step."""
        self.largest = max(self.largest, float(size.max()))
        kept = {"time": past["time"] + 1, "previous": delta, "spent": past["spent"] + size}
        if "history" in past:
            kept["history"] = torch.cat([past["history"][:, 1:], x.unsqueeze(1)], 1)
        self._rows.put(rows, **kept)

    def _policies(self, memory: Tensor | None) -> list[Policy]:
        """The agent as a map from observations to outputs; one for each row of a memory."""
        agent = self.actor
        if memory is None or not isinstance(agent, Recurrent):
            return [agent]

        def of(row: Tensor) -> Policy:
            return lambda x: agent.recall(x, row.expand(len(x), *row.shape[1:]))[0]

        return [of(row) for row in torch.split(memory, 1)]

    def _past(self, adversary: Adversary, x: Tensor, rows: Tensor) -> dict[str, Tensor]:
        """What an attack over an episode reads of the earlier steps."""
        event, memory = x.shape[1:], int(getattr(adversary, "memory", 0))
        time = self._rows.get("time", rows, lambda n: torch.zeros(n, dtype=torch.long))
        previous = self._rows.get("previous", rows, lambda n: x.new_zeros(n, *event))
        spent = self._rows.get("spent", rows, lambda n: x.new_zeros(n))
        data = {"time": time, "previous": previous, "spent": spent}
        if memory:
            history = self._rows.get("history", rows, lambda n: x.new_zeros(n, memory, *event))
            first = time.reshape(-1, *[1] * x.ndim) == 0
            data["history"] = torch.where(first, x.unsqueeze(1), history)
        if isinstance(adversary, LyingSources) and "liars" in adversary.needs:
            draw = partial(_liars, adversary, x[:1], self.generator)
            data["liars"] = self._rows.get("liars", rows, draw)
        return data


def _liars(adversary: LyingSources, x: Tensor, generator: torch.Generator, rows: int) -> Tensor:
    return adversary.drawn(x.expand(rows, *x.shape[1:]), generator)


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
    generator = torch.Generator().manual_seed(derive(match.seed, "explore"))
    choose = partial(actor.head.explore, share=share, generator=generator)
    record = play(match, AttackedTeam(actor, None, generator, choose=choose))
    action = actor.head.encode(record.action)
    return Experience(record.observation, action, record.reward, record.played)
