"""PettingZoo's parallel environments in the arena: one or more of their agents under attack."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from aajr._checks import check_count
from aajr.arena.environments._games import RunningGames
from aajr.arena.environments.named import resolve
from aajr.arena.environments.protocols import AgentLike
from aajr.arena.environments.teams import TeamRecord as TeamRecord
from aajr.arena.environments.teams import check_team
from aajr.arena.environments.views import View, Viewed, flat
from aajr.arena.threats import Claims

try:
    from pettingzoo import ParallelEnv
except ImportError as error:
    raise ImportError(
        "aajr.arena.environments.pettingzoo needs PettingZoo: pip install 'aajr[pettingzoo]'"
    ) from error


@dataclass(frozen=True, eq=False)
class PettingZooEnvironment(Viewed):
    """Episodes of one parallel environment of PettingZoo, in which named agents are attacked.

    It is an :class:`aajr.arena.environments.protocols.Environment` whose team are the attacked
    agents, which all act by the agent under examination. The others act by their own policies, see
    the truth, and choose their most likely actions. An episode ends when none of the attacked is
    left. An attacked agent that is out of the game earlier sees zeros and earns nothing; ``alive``
    of the record says when it was there.

    Attributes:
        source: function that makes one parallel environment, or ``package.module:function``.
        episodes: number of episodes.
        seed: seed of the initial states.
        attacked: names of the attacked agents; all by default.
        others: policy of every other agent, by its name.
        sight: function from raw observations of the attacked to the agent's input
            ``[rows, features]``, as in
            :class:`aajr.arena.environments.gymnasium.GymnasiumEnvironment`.
        limit: steps after which every episode is cut; None for the environment's own limit, which
            is then read from its attribute ``max_cycles`` or ``max_steps``.
        solved: mean return of the attacked from which an episode counts as won.
        attack_choices: whether the adversary may also change one-hot features.

    Raises:
        ValueError: unknown names, agents without a policy, attacked agents with different spaces,
            an environment that is not parallel or has no limit of time.

    Example:
        >>> from aajr.hide_and_seek.game import parallel_env
        >>> from aajr.arena.agents.actors import Actor
        >>> seekers = {f"seeker_{i}": Actor(60, (11, 11, 2, 2)) for i in range(5)}
        >>> hiders = [f"hider_{i}" for i in range(5)]
        >>> environment = PettingZooEnvironment(parallel_env, 2, 0, hiders, seekers, limit=64)
        >>> environment.agents, environment.features
        (5, 60)
    """

    source: str | Callable[[], Any]
    episodes: int
    seed: int
    attacked: Sequence[str] = ()
    others: Mapping[str, AgentLike] = field(default_factory=dict)
    sight: Callable[[np.ndarray], Tensor] = flat
    limit: int | None = None
    solved: float | None = None
    attack_choices: bool = False

    liars = 0
    claims: ClassVar[Claims] = (None, None)

    def __post_init__(self) -> None:
        check_count("episodes", self.episodes)
        check_count("seed", self.seed, minimum=0)
        if self.limit is not None:
            check_count("limit", self.limit)
        spaces = self.example.observation_space, self.example.action_space
        known = list(self.example.possible_agents)
        names = check_team(known, self.attacked, self.others, *spaces)
        object.__setattr__(self, "attacked", names)

    def make(self) -> Any:
        """Make one environment."""
        source = resolve(self.source) if isinstance(self.source, str) else self.source
        made = source()
        if not isinstance(made, ParallelEnv):
            raise ValueError(
                f"source={self.source!r} made a {type(made).__name__}; it must make a ParallelEnv, "
                "for instance by pettingzoo.utils.aec_to_parallel"
            )
        return made

    @cached_property
    def example(self) -> Any:
        """A closed environment, used for its spaces and facts."""
        made = self.make()
        made.close()
        return made

    @cached_property
    def view(self) -> View:
        """What each attacked agent reads of its observations."""
        space = self.example.observation_space(self.attacked[0])
        return View(space, self.sight, self.attack_choices)

    @property
    def action_space(self) -> Any:
        """Space of an attacked agent's actions, for :func:`aajr.arena.spaces.gymnasium.head_of`."""
        return self.example.action_space(self.attacked[0])

    @property
    def agents(self) -> int:
        """Number of attacked agents."""
        return len(self.attacked)

    @property
    def steps(self) -> int:
        """Greatest length of an episode."""
        inner = getattr(self.example, "unwrapped", self.example)
        own = (getattr(inner, name, None) for name in ("max_cycles", "max_steps"))
        known = [limit for limit in (self.limit, *own) if isinstance(limit, int)]
        if not known:
            raise ValueError(f"source={self.source!r} tells no limit of time; give limit=")
        return min(known)

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
        source: Any = self.source
        if not isinstance(source, str):
            function = getattr(source, "func", source)
            source = f"{function.__module__}:{getattr(function, '__qualname__', '')}"
        return {
            "environment": source,
            "attacked": list(self.attacked),
            "others": sorted(self.others),
            "limit": self.limit,
            "solved": self.solved,
            "attack_choices": self.attack_choices,
        }

    def resized(self, episodes: int, seed: int) -> PettingZooEnvironment:
        """A copy with another number of episodes and another seed."""
        return replace(self, episodes=episodes, seed=seed)

    def reset(self) -> RunningGames:
        """Start all episodes."""
        return RunningGames(self)
