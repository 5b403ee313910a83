"""EnvPool's environments in the arena: all episodes are stepped by threads in C++."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from aajr._checks import check_count
from aajr._seeds import derive
from aajr.arena.environments.running import Record, RunningAgent
from aajr.arena.environments.views import View, Viewed, flat
from aajr.arena.spaces.gymnasium import native_action
from aajr.arena.threats import Claims

__all__ = ["ENVPOOL", "EnvPoolEnvironment"]

ENVPOOL = "envpool:"
"""What stands before a name of EnvPool where other names are allowed too."""

ENDLESS = 2**31 - 1
"""What EnvPool tells as the limit of time where there is none; also beyond its greatest seed."""


@dataclass(frozen=True, eq=False)
class EnvPoolEnvironment(Viewed):
    """Episodes of one environment of EnvPool, each from its own initial state.

    It is an :class:`aajr.arena.environments.protocols.Environment` of one agent. EnvPool resets an
    environment at the step after its end; the episodes that are over are not stepped any more.
    Every episode's environment has its own seed. EnvPool draws other initial states from a seed
    than Gymnasium does.

    Attributes:
        source: a name that EnvPool knows, such as ``HalfCheetah-v4``.
        episodes: number of episodes.
        seed: seed of the initial states.
        settings: further arguments of ``envpool.make``, such as ``num_threads`` or ``stack_num``.
        sight: function from raw observations to the agent's input ``[rows, features]``, as in
            :class:`aajr.arena.environments.gymnasium.GymnasiumEnvironment`.
        limit: steps after which every episode is cut; None for the environment's own limit.
        solved: return from which an episode counts as won; by default EnvPool's threshold, or
            infinity if there is none.
        attack_choices: whether the adversary may also change one-hot features.

    Raises:
        ImportError: EnvPool is not installed.
        ValueError: an unknown name, several players, observations without a fixed size.

    Source: Weng et al., EnvPool: a highly parallel reinforcement learning environment execution
    engine, 2022, https://arxiv.org/abs/2206.10558.
    """

    source: str
    episodes: int
    seed: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    sight: Callable[[np.ndarray], Tensor] = flat
    limit: int | None = None
    solved: float | None = None
    attack_choices: bool = False

    agents: ClassVar[int] = 1
    liars: ClassVar[int] = 0
    claims: ClassVar[Claims] = (None, None)
    opponents: ClassVar[Sequence[nn.Module]] = ()

    def __post_init__(self) -> None:
        check_count("episodes", self.episodes)
        check_count("seed", self.seed, minimum=0)
        if self.limit is not None:
            check_count("limit", self.limit)
        if self.source not in _envpool().list_all_envs():
            raise ValueError(
                f"source={self.source!r} is not in EnvPool; envpool.list_all_envs() tells its names"
            )
        if self.example.config.max_num_players != 1:
            raise ValueError(f"source={self.source!r} has several players; give a game of one")
        if taken := sorted({"batch_size", "env_seed", "num_envs", "seed"} & set(self.settings)):
            raise ValueError(f"settings={taken} follow from episodes and seed; leave them out")
        _ = self.view

    def make(self, seeds: Sequence[int]) -> Any:
        """Make one environment of EnvPool with an episode for each seed."""
        own = {"num_envs": len(seeds), "seed": list(seeds)}
        return _envpool().make(self.source, env_type="gymnasium", **own, **self.settings)

    @cached_property
    def example(self) -> Any:
        """EnvPool's specification of the environment."""
        return _envpool().make_spec(self.source, **self.settings)

    @property
    def action_space(self) -> Any:
        """Space of the actions, for :func:`aajr.arena.spaces.gymnasium.head_of`."""
        return self.example.action_space

    @cached_property
    def view(self) -> View:
        """What the agent reads of the observations."""
        return View(self.example.observation_space, self.sight, self.attack_choices)

    @property
    def steps(self) -> int:
        """Greatest length of an episode."""
        known = [self.limit or ENDLESS, int(self.example.config.max_episode_steps)]
        if min(known) == ENDLESS:
            raise ValueError(f"source={self.source!r} has no limit of time; give limit=")
        return min(known)

    @property
    def solved_at(self) -> float:
        """Return from which an episode counts as won."""
        known = (self.solved, self.example.reward_threshold)
        return next((x for x in known if x is not None), float("inf"))

    @property
    def facts(self) -> dict[str, Any]:
        """The settings as JSON values."""
        facts: dict[str, Any] = {"environment": f"{ENVPOOL}{self.source}", "limit": self.limit}
        facts["settings"] = {key: str(value) for key, value in sorted(self.settings.items())}
        facts["solved"] = self.solved
        return facts | ({"attack_choices": True} if self.attack_choices else {})

    def resized(self, episodes: int, seed: int) -> EnvPoolEnvironment:
        """A copy with another number of episodes and another seed."""
        return replace(self, episodes=episodes, seed=seed)

    def reset(self) -> _Running:
        """Start all episodes."""
        return _Running(self)


class _Running(RunningAgent):
    """Episodes that are being played."""

    def __init__(self, environment: EnvPoolEnvironment) -> None:
        super().__init__(environment)
        self._environment, count = environment, environment.episodes
        seeds = (derive(environment.seed, "start", index) for index in range(count))
        self._pool = environment.make([seed % ENDLESS for seed in seeds])
        shown, told = self._pool.reset()
        self._raw = environment.view.raw(_ordered(shown, told))
        self.observation = self._seen()

    def record(self) -> Record:
        """Close the environments and return the record of the episodes."""
        self._pool.close()
        return super().record()

    def _played(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows, space = self.running.numpy(), self._environment.action_space
        chosen = np.stack([native_action(space, numbers) for numbers in action.numpy()])
        shown, *rest, told = self._pool.step(chosen, rows.astype(np.int32))
        self._raw[rows] = self._environment.view.raw(_ordered(shown, told))
        order = np.argsort(told["env_id"])
        gained, ended, cut = (torch.from_numpy(part[order]) for part in rest)
        return gained.double(), ended, cut

    def _seen(self) -> Tensor:
        return self._environment.sight(self._raw[self.running.numpy()]).unsqueeze(1)


def _envpool() -> ModuleType:
    """The library, which is loaded by the first environment."""
    try:
        return import_module("envpool")
    except ImportError as error:
        raise ImportError(
            "EnvPoolEnvironment needs EnvPool: pip install 'aajr[envpool]'"
        ) from error


def _ordered(shown: Any, told: Mapping[str, Any]) -> list[Any]:
    """The observations, one by one, in the order of the environments' numbers."""
    return [_row(shown, place) for place in np.argsort(told["env_id"])]


def _row(shown: Any, place: int) -> Any:
    if isinstance(shown, Mapping):
        return {name: _row(part, place) for name, part in shown.items()}
    return shown[place]
