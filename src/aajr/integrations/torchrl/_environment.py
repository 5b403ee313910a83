"""TorchRL's environments in the arena."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from tensordict import TensorDictBase
from torch import Tensor, nn
from torchrl.envs import EnvBase, ParallelEnv, SerialEnv, StepCounter

from aajr._checks import check_count
from aajr.arena.environments.named import resolve
from aajr.arena.environments.views import View, Viewed, flat
from aajr.arena.threats import Claims
from aajr.integrations.torchrl._layout import Key, Layout, layout_of, unwrapped
from aajr.integrations.torchrl._running import RunningCopies

BATCHED = (SerialEnv, ParallelEnv)
"""Environments that pass on what they are asked to copies, which run only after a reset."""


@dataclass(frozen=True, eq=False)
class _Example:
    """What one environment tells of all: its layout, all actions, its limit and threshold."""

    layout: Layout
    actions: list[Key]
    limit: int | None
    threshold: float | None


@dataclass(frozen=True, eq=False)
class TorchRLEnvironment(Viewed):
    """Episodes of one environment of TorchRL, each from its own initial state.

    It is an :class:`aajr.arena.environments.protocols.Environment` of one agent, or of a group of
    agents that all act by the agent under examination. An environment with a ``batch_size`` plays
    that many episodes at once; copies of it play the rest, and what they play beyond the last
    episode is not recorded. A ``ParallelEnv`` is such an environment, with one process for each of
    its episodes. Each copy has a seed of its own, given by ``set_seed`` before ``reset``, or by
    ``reset(seed=...)`` to those of Gymnasium and PettingZoo. Torch's global random numbers stay as
    they are. An environment without ``truncated`` that is done at its own limit is cut by it.

    Attributes:
        source: function that makes one environment, ``package.module:function``, or an
            environment, which is copied.
        episodes: number of episodes.
        seed: seed of the initial states.
        observation: entry that the agent reads, such as ``"observation"``; for a group of agents
            the names that lead to it, as ``("agents", "observation")``; or a list of entries, which
            are shown side by side.
        others: function that writes the actions of all other groups of agents, as TorchRL's
            policies do. They see the truth, and act as in ``ExplorationType.DETERMINISTIC``.
        sight: function from raw observations to the agent's input ``[rows, features]``, as in
            :class:`aajr.arena.environments.gymnasium.GymnasiumEnvironment`.
        limit: steps after which every episode is cut; None for the environment's own limit, that
            of a ``StepCounter``, of Gymnasium's specification or of its attribute ``max_steps``.
        solved: mean return of the attacked from which an episode counts as won; by default
            Gymnasium's threshold, or infinity if there is none.
        attack_choices: whether the adversary may also change one-hot features.

    Raises:
        ValueError: unknown entries, groups without a policy, agents with different spaces, an
            object that is no environment or cannot be copied.

    Example:
        >>> from torchrl.envs import GymEnv
        >>> environment = TorchRLEnvironment(lambda: GymEnv("CartPole-v1"), episodes=2, seed=0)
        >>> environment.features, environment.steps, environment.action_space
        (4, 500, Discrete(2))
    """

    source: str | EnvBase | Callable[[], EnvBase]
    episodes: int
    seed: int
    observation: Key | list[Key] = "observation"
    others: Callable[[TensorDictBase], TensorDictBase] | None = None
    sight: Callable[[np.ndarray], Tensor] = flat
    limit: int | None = None
    solved: float | None = None
    attack_choices: bool = False

    liars: ClassVar[int] = 0
    claims: ClassVar[Claims] = (None, None)

    def __post_init__(self) -> None:
        check_count("episodes", self.episodes)
        check_count("seed", self.seed, minimum=0)
        if self.limit is not None:
            check_count("limit", self.limit)
        idle = [key for key in self._example.actions if key != self.layout.action]
        if idle and self.others is None:
            raise ValueError(f"{idle} have no policy; give others=, which writes these actions")
        _ = self.view, self.action_space

    def make(self) -> EnvBase:
        """Make one environment."""
        source = resolve(self.source) if isinstance(self.source, str) else self.source
        if isinstance(source, EnvBase):
            return _copied(source)
        made = source() if callable(source) else source
        if not isinstance(made, EnvBase):
            raise ValueError(
                f"source={self.source!r} made a {type(made).__name__}; it must make an EnvBase"
            )
        return made

    @cached_property
    def _example(self) -> _Example:
        """What a closed environment tells of all."""
        with torch.random.fork_rng(devices=()):
            made = self.make()
            layout = layout_of(made, self.observation)
            found = _Example(layout, list(made.action_keys), _own_limit(made), _threshold(made))
            made.close(raise_if_closed=False)
        return found

    @property
    def layout(self) -> Layout:
        """Where the environment keeps what the attacked agents see, do and earn."""
        return self._example.layout

    @property
    def own_limit(self) -> int | None:
        """Steps after which the environment cuts its episodes by itself, if it tells them."""
        return self._example.limit

    @property
    def action_space(self) -> Any:
        """Space of an attacked agent's actions, for :func:`aajr.arena.spaces.gymnasium.head_of`."""
        return self.layout.action_space

    @cached_property
    def view(self) -> View:
        """What each attacked agent reads of its observations."""
        return View(self.layout.space, self.sight, self.attack_choices)

    @property
    def agents(self) -> int:
        """Number of attacked agents."""
        return self.layout.agents

    @property
    def steps(self) -> int:
        """Greatest length of an episode."""
        known = [limit for limit in (self.limit, self.own_limit) if limit is not None]
        if not known:
            raise ValueError(f"source={self.source!r} tells no limit of time; give limit=")
        return min(known)

    @property
    def solved_at(self) -> float:
        """Mean return of the attacked from which an episode counts as won."""
        own = self._example.threshold
        return next((x for x in (self.solved, own) if x is not None), float("inf"))

    @property
    def opponents(self) -> Sequence[nn.Module]:
        """The policy of the others, if it is a network."""
        return [self.others] if isinstance(self.others, nn.Module) else []

    @property
    def facts(self) -> dict[str, Any]:
        """The settings as JSON values."""
        keys = self.observation if isinstance(self.observation, list) else [self.observation]
        return {
            "environment": f"torchrl:{_describe(self.source)}",
            "batch": list(self.layout.batch),
            "observation": [list(key) if isinstance(key, tuple) else key for key in keys],
            "others": None if self.others is None else type(self.others).__name__,
            "limit": self.limit,
            "solved": self.solved,
            "attack_choices": self.attack_choices,
        }

    def resized(self, episodes: int, seed: int) -> TorchRLEnvironment:
        """A copy with another number of episodes and another seed."""
        return replace(self, episodes=episodes, seed=seed)

    def reset(self) -> RunningCopies:
        """Start all episodes."""
        return RunningCopies(self)


def _copied(made: EnvBase) -> EnvBase:
    try:
        return copy.deepcopy(made)
    except Exception as error:  # a simulator may fail in any way
        raise ValueError(
            f"source={type(made).__name__} cannot be copied ({type(error).__name__}: {error}); "
            "give a function that makes it"
        ) from error


def _own_limit(made: EnvBase) -> int | None:
    """Steps after which an environment cuts its episodes, if it tells them."""
    inner, transforms = unwrapped(made)
    found = [one.max_steps for one in transforms if isinstance(one, StepCounter)]
    own = None if isinstance(inner, BATCHED) else getattr(inner, "max_steps", None)
    found += [getattr(_spec(made), "max_episode_steps", None), own]
    return min((limit for limit in found if isinstance(limit, int)), default=None)


def _threshold(made: EnvBase) -> float | None:
    threshold = getattr(_spec(made), "reward_threshold", None)
    return float(threshold) if isinstance(threshold, int | float) else None


def _spec(made: EnvBase) -> Any:
    """Gymnasium's specification, if it is known."""
    inner = unwrapped(made)[0]
    return None if isinstance(inner, BATCHED) else getattr(inner, "spec", None)


def _describe(source: Any) -> str:
    """The source in words that do not change from run to run."""
    if isinstance(source, str):
        return source
    if not isinstance(source, EnvBase):
        function = getattr(source, "func", source)
        name = getattr(function, "__qualname__", type(function).__qualname__)
        return f"{function.__module__}:{name}"
    inner, transforms = unwrapped(source)
    name = getattr(_spec(source), "id", "")
    kinds = [type(one).__name__ for one in (inner, *transforms)]
    return " ".join([kinds[0], *([name] if name else []), *kinds[1:]])
