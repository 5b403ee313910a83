"""VMAS's scenarios in the arena: all episodes in one batch of VMAS."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
import vmas
from torch import Tensor, nn

from aajr._checks import check_count
from aajr._seeds import derive
from aajr.arena.environments.episodes import AttackedTeam
from aajr.arena.environments.frames import Frames
from aajr.arena.environments.protocols import AgentLike, Latest
from aajr.arena.environments.teams import TeamRecord, check_team, sight_of, team_record
from aajr.arena.environments.views import View, Viewed, flat
from aajr.arena.threats import Claims
from aajr.integrations.foreign_spaces import gymnasium_space


@dataclass(frozen=True, eq=False)
class VMASEnvironment(Viewed):
    """Episodes of one scenario of VMAS, in which named agents are attacked.

    It is an :class:`aajr.arena.environments.protocols.Environment` whose team are the attacked
    agents, which all act by the agent under examination. The others act by their own policies and
    see the truth. VMAS draws the initial states of all episodes from one seed, so that an episode
    depends on how many are played with it.

    Attributes:
        scenario: a name that VMAS knows, or a function that makes a scenario.
        episodes: number of episodes.
        seed: seed of the initial states.
        steps: steps after which every episode is cut.
        attacked: names of the attacked agents; all without a policy in ``others`` by default.
        others: policy of every other agent, by its name.
        continuous: whether actions are continuous.
        settings: further arguments of the scenario.
        sight: function from raw observations of the attacked to the agent's input
            ``[rows, features]``.
        solved: mean return of the attacked from which an episode counts as won.

    Raises:
        ValueError: unknown names, agents without a policy, attacked agents with different spaces.

    Example:
        >>> environment = VMASEnvironment("navigation", episodes=2, seed=0, steps=20)
        >>> environment.agents, environment.features
        (4, 18)
    """

    scenario: str | Callable[[], Any]
    episodes: int
    seed: int
    steps: int
    attacked: Sequence[str] = ()
    others: Mapping[str, AgentLike] = field(default_factory=dict)
    continuous: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)
    sight: Callable[[np.ndarray], Tensor] = flat
    solved: float | None = None

    liars: ClassVar[int] = 0
    claims: ClassVar[Claims] = (None, None)

    def __post_init__(self) -> None:
        for name in ("episodes", "steps"):
            check_count(name, getattr(self, name))
        check_count("seed", self.seed, minimum=0)
        spaces = self._seen_as, self._acts_as
        names = check_team(list(self._spaces[0]), self.attacked, self.others, *spaces)
        object.__setattr__(self, "attacked", names)

    def make(self, episodes: int, seed: int) -> Any:
        """Make VMAS's environment of several episodes."""
        scenario = self.scenario if isinstance(self.scenario, str) else self.scenario()
        return vmas.make_env(
            scenario,
            num_envs=episodes,
            device="cpu",
            continuous_actions=self.continuous,
            seed=seed,
            dict_spaces=True,
            terminated_truncated=True,
            max_steps=self.steps,
            **self.settings,
        )

    @cached_property
    def _spaces(self) -> tuple[Any, Any]:
        made = self.make(1, 0)
        return made.observation_space, made.action_space

    def _seen_as(self, name: str) -> Any:
        return gymnasium_space(self._spaces[0][name])

    def _acts_as(self, name: str) -> Any:
        return gymnasium_space(self._spaces[1][name])

    @property
    def action_space(self) -> Any:
        """Space of an attacked agent's actions, for :func:`aajr.arena.spaces.gymnasium.head_of`."""
        return self._acts_as(self.attacked[0])

    @cached_property
    def view(self) -> View:
        """What each attacked agent reads of its observations."""
        return View(self._seen_as(self.attacked[0]), self.sight)

    @property
    def agents(self) -> int:
        """Number of attacked agents."""
        return len(self.attacked)

    @property
    def solved_at(self) -> float:
        """Mean return of the attacked from which an episode counts as won."""
        return float("inf") if self.solved is None else self.solved

    @property
    def opponents(self) -> Sequence[nn.Module]:
        """The policies of the others that are networks."""
        return [agent for agent in self.others.values() if isinstance(agent, nn.Module)]

    @property
    def facts(self) -> dict[str, Any]:
        """The settings as JSON values."""
        name: Any = self.scenario
        if not isinstance(name, str):
            name = f"{name.__module__}:{getattr(name, '__qualname__', name)}"
        return {
            "environment": f"vmas:{name}",
            "steps": self.steps,
            "attacked": list(self.attacked),
            "others": sorted(self.others),
            "continuous": self.continuous,
            "settings": {key: str(value) for key, value in sorted(self.settings.items())},
            "solved": self.solved,
        }

    def resized(self, episodes: int, seed: int) -> VMASEnvironment:
        """A copy with another number of episodes and another seed."""
        return replace(self, episodes=episodes, seed=seed)

    def reset(self) -> _Running:
        """Start all episodes."""
        return _Running(self)


class _Running:
    """Episodes that are being played; VMAS plays on those that are over, unrecorded."""

    def __init__(self, environment: VMASEnvironment) -> None:
        self._environment, count = environment, environment.episodes
        self._game = environment.make(count, derive(environment.seed, "start"))
        self._shown = self._game.reset()
        self._others = {
            name: AttackedTeam(agent, None, torch.Generator().manual_seed(0))
            for name, agent in environment.others.items()
        }
        self._terminated = torch.zeros(count, dtype=torch.bool)
        self._frames = Frames()
        self._latest: Latest | None = None
        self.running = torch.arange(count)
        self.observation = self._seen()

    @property
    def latest(self) -> Latest:
        """What the latest step brought."""
        if self._latest is None:
            raise ValueError("no step has been played; call step first")
        return self._latest

    def step(self, action: Tensor) -> None:
        """Play one step of every running episode with actions ``[running, agents, actions]``."""
        names, rows = self._environment.attacked, self.running
        orders = {name: self._spread(action[:, place]) for place, name in enumerate(names)}
        for name, team in self._others.items():
            seen = sight_of(team.actor)(self._shown[name][rows].numpy())
            orders[name] = self._spread(team(seen.unsqueeze(1), rows)[:, 0])
        self._shown, gained, ended, cut, _ = self._game.step(
            {name: orders[name] for name in self._game.action_space}
        )
        reward = torch.stack([gained[name] for name in names], 1)[rows].float()
        ended, cut = ended[rows], cut[rows] & ~ended[rows]
        self._terminated[rows] = ended
        self._frames.add(rows, self.observation, action, reward, torch.ones_like(reward).bool())
        shown = self._seen()
        self._latest = Latest(shown, reward, ended, cut)
        going = ~(ended | cut)
        self.running, self.observation = rows[going], shown[going]

    def record(self) -> TeamRecord:
        """The record of the episodes."""
        return team_record(self._frames, self._terminated, self._environment.solved_at)

    def _spread(self, action: Tensor) -> Tensor:
        """Actions of all episodes, zeros for those that are over."""
        every = action.new_zeros(self._environment.episodes, *action.shape[1:])
        every[self.running] = action
        return every

    def _seen(self) -> Tensor:
        rows, view = self.running, self._environment.view
        parts = [self._shown[name][rows].numpy() for name in self._environment.attacked]
        return torch.stack([view.sight(part) for part in parts], 1)
