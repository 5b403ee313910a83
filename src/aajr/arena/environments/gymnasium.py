"""Gymnasium's environments in the arena: one agent each, many episodes in parallel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from aajr._checks import check_count
from aajr._seeds import derive
from aajr.arena.environments._camera import Camera
from aajr.arena.environments._makers import Source, describe, maker
from aajr.arena.environments.running import Record as Record
from aajr.arena.environments.running import RunningAgent
from aajr.arena.environments.views import View, Viewed
from aajr.arena.environments.views import flat as flat
from aajr.arena.environments.views import pixels as pixels
from aajr.arena.spaces.gymnasium import head_of as head_of
from aajr.arena.spaces.gymnasium import native_action
from aajr.arena.threats import Claims


@dataclass(frozen=True, eq=False)
class GymnasiumEnvironment(Viewed):
    """Episodes of one Gymnasium environment, each from its own initial state.

    It is an :class:`aajr.arena.environments.protocols.Environment` of one agent. At each step the
    running episodes are attacked in one batch. Observations may be arrays of any shape, choices,
    and Dict and Tuple of these, which are flattened as Gymnasium's ``flatten`` does: choices are
    one-hot. A ball around a one-hot vector holds hardly any other choice, so choices are trusted.

    Attributes:
        source: a registered name, ``package.module:factory``, a factory that takes no argument, or
            an environment made by ``gymnasium.make``, from whose specification copies are made.
        episodes: number of episodes.
        seed: seed of the initial states.
        sight: function from raw observations to the agent's input ``[rows, features]``, for
            instance a normalisation, or :func:`pixels`. ε has the unit of the result. Raw are
            arrays ``[rows, *observation]``; of other spaces they are flat, ``[rows, features]``.
        limit: steps after which every episode is cut; None for the environment's own limit.
        solved: return from which an episode counts as won; by default Gymnasium's threshold, or
            infinity if there is none.
        attack_choices: whether the adversary may also change one-hot features.
        record_frames: number of an episode of which rendered frames are kept; None for none.

    Raises:
        ValueError: observations without a fixed size, an object that cannot be copied.

    Example:
        >>> environment = GymnasiumEnvironment("CartPole-v1", episodes=2, seed=0)
        >>> environment.features, environment.steps, environment.solved_at
        (4, 500, 475.0)
        >>> environment.features_named(["[2:]", 0])
        tensor([ True, False,  True,  True])
    """

    source: Source
    episodes: int
    seed: int
    sight: Callable[[np.ndarray], Tensor] = flat
    limit: int | None = None
    solved: float | None = None
    attack_choices: bool = False
    record_frames: int | None = None

    agents = 1
    liars = 0
    claims: ClassVar[Claims] = (None, None)
    opponents: Sequence[nn.Module] = ()

    def __post_init__(self) -> None:
        check_count("episodes", self.episodes)
        check_count("seed", self.seed, minimum=0)
        if self.limit is not None:
            check_count("limit", self.limit)
        _ = self.view

    def make(self, **settings: Any) -> Any:
        """Make one environment; ``render_mode`` may be given."""
        return maker(self.source)(**settings)

    @cached_property
    def example(self) -> Any:
        """A closed environment, used for its spaces and facts."""
        environment = self.make()
        environment.close()
        return environment

    @cached_property
    def view(self) -> View:
        """What the agent reads of the observations."""
        return View(self.example.observation_space, self.sight, self.attack_choices)

    @property
    def action_space(self) -> Any:
        """Space of the actions, for :func:`aajr.arena.spaces.gymnasium.head_of`."""
        return self.example.action_space

    @property
    def steps(self) -> int:
        """Greatest length of an episode."""
        own = getattr(self.example.spec, "max_episode_steps", None)
        known = [limit for limit in (self.limit, own) if limit is not None]
        if not known:
            raise ValueError(f"source={self.source!r} has no limit of time; give limit=")
        return min(known)

    @property
    def solved_at(self) -> float:
        """Return from which an episode counts as won."""
        own = getattr(self.example.spec, "reward_threshold", None)
        return next((x for x in (self.solved, own) if x is not None), float("inf"))

    @property
    def facts(self) -> dict[str, Any]:
        """The settings as JSON values."""
        facts: dict[str, Any] = {"environment": describe(self.source), "limit": self.limit}
        facts["solved"] = self.solved
        return facts | ({"attack_choices": True} if self.attack_choices else {})

    def resized(self, episodes: int, seed: int) -> GymnasiumEnvironment:
        """A copy with another number of episodes and another seed."""
        return replace(self, episodes=episodes, seed=seed)

    def reset(self) -> _Running:
        """Start all episodes."""
        return _Running(self)


class _Running(RunningAgent):
    """Episodes that are being played."""

    def __init__(self, environment: GymnasiumEnvironment) -> None:
        super().__init__(environment)
        self._environment, episodes = environment, environment.episodes
        self._camera = None if environment.record_frames is None else Camera()
        self._single = [self._made(index) for index in range(episodes)]
        seeds = (derive(environment.seed, "start", i) for i in range(episodes))
        starts = [one.reset(seed=s)[0] for one, s in zip(self._single, seeds, strict=True)]
        self._raw = environment.view.raw(starts)
        self._film()
        self.observation = self._seen()

    def record(self) -> Record:
        """Close the environments and return the record of the episodes."""
        for one in self._single:
            one.close()
        return replace(super().record(), frames=self._camera)

    def _played(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        played = [
            one.step(native_action(one.action_space, chosen))
            for one, chosen in zip(self._active(), action.numpy(), strict=True)
        ]
        self._film()
        raw, gained, terminated, truncated, _ = zip(*played, strict=True)
        self._raw[self.running.numpy()] = self._environment.view.raw(raw)
        rewards = torch.tensor([float(reward) for reward in gained], dtype=torch.float64)
        ended, cut = (torch.tensor(flags, dtype=torch.bool) for flags in (terminated, truncated))
        return rewards, ended, cut

    def _made(self, index: int) -> Any:
        make = self._environment.make
        if self._camera is None or index != self._environment.record_frames:
            return make()
        return self._camera.made(make)

    def _film(self) -> None:
        index = self._environment.record_frames
        if self._camera is not None and index is not None and index in self.running:
            self._camera.look(self._single[index])

    def _active(self) -> list[Any]:
        return [self._single[index] for index in self.running.tolist()]

    def _seen(self) -> Tensor:
        return self._environment.sight(self._raw[self.running.numpy()]).unsqueeze(1)
