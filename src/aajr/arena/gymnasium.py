"""Gymnasium's environments in the arena: one agent each, many episodes in parallel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aajr._checks import check_count
from aajr._seeds import derive
from aajr.arena.heads import CategoricalHead, GaussianHead, Head
from aajr.arena.threats import Threat

try:
    import gymnasium
    from gymnasium import spaces
except ImportError as error:
    raise ImportError("aajr.arena.gymnasium needs Gymnasium: pip install 'aajr[sb3]'") from error


def flat(observation: np.ndarray) -> Tensor:
    """Flatten observations ``[rows, *observation]`` to float32 ``[rows, features]``."""
    return torch.as_tensor(observation, dtype=torch.float32).flatten(1)


@dataclass(frozen=True, eq=False)
class GymnasiumEnvironment:
    """Episodes of one Gymnasium environment, each from its own initial state.

    It is an :class:`aajr.arena.environments.Environment` of one agent. At each step the running
    episodes are attacked in one batch.

    Attributes:
        source: a name that Gymnasium knows, or a function that makes the environment.
        episodes: number of episodes.
        seed: seed of the initial states.
        sight: function from raw observations ``[rows, *observation]`` to the agent's input
            ``[rows, features]``, for instance a normalisation. ε has the unit of the result.
        limit: steps after which every episode is cut; None for the environment's own limit.
        solved: return from which an episode counts as won; by default Gymnasium's threshold, or
            infinity if there is none.

    Raises:
        ValueError: the environment's observations are not arrays.

    Example:
        >>> environment = GymnasiumEnvironment("CartPole-v1", episodes=2, seed=0)
        >>> environment.features, environment.steps, environment.solved_at
        (4, 500, 475.0)
    """

    source: str | Callable[[], Any]
    episodes: int
    seed: int
    sight: Callable[[np.ndarray], Tensor] = flat
    limit: int | None = None
    solved: float | None = None

    agents = 1
    liars = 0
    opponents: Sequence[nn.Module] = ()

    def __post_init__(self) -> None:
        check_count("episodes", self.episodes)
        check_count("seed", self.seed, minimum=0)
        if self.limit is not None:
            check_count("limit", self.limit)
        space = self.example.observation_space
        if not isinstance(space, spaces.Box):
            raise ValueError(
                f"source={self.source!r} shows observations of {space}; wrap it to show arrays"
            )

    def make(self) -> Any:
        """Make one environment."""
        return gymnasium.make(self.source) if isinstance(self.source, str) else self.source()

    @cached_property
    def example(self) -> Any:
        """A closed environment, used for its spaces and facts."""
        environment = self.make()
        environment.close()
        return environment

    @cached_property
    def features(self) -> int:
        """Size of the agent's input."""
        space = self.example.observation_space
        return self.sight(np.zeros((1, *space.shape), space.dtype)).shape[1]

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
        source = self.source
        if not isinstance(source, str):
            source = f"{source.__module__}:{getattr(source, '__qualname__', source)}"
        return {"environment": source, "limit": self.limit, "solved": self.solved}

    @property
    def items(self) -> Tensor:
        """Group of each feature: every feature is its own group."""
        return torch.arange(self.features)

    @property
    def sources(self) -> Tensor:
        """Source of each feature: -1, since no feature is a report."""
        return torch.full((self.features,), -1)

    def attackable(self, threat: Threat) -> Tensor:
        """Mask of the attackable features: all.

        Raises:
            ValueError: a threat that concerns other agents.
        """
        if threat != "full":
            raise ValueError(f"threat={threat!r} needs other agents to perceive; choose 'full'")
        return torch.ones(self.features, dtype=torch.bool)

    def told(self, liars: Sequence[int]) -> Tensor:
        """Raise ValueError, since there are no teammates that could lie."""
        raise ValueError(f"liars={liars} are not there; a single agent has no teammates")

    def resized(self, episodes: int, seed: int) -> GymnasiumEnvironment:
        """A copy with another number of episodes and another seed."""
        return replace(self, episodes=episodes, seed=seed)

    def reset(self) -> _Running:
        """Start all episodes."""
        return _Running(self)


@dataclass(frozen=True, eq=False)
class Record:
    """The record of played episodes; those that ended early are padded with zeros.

    Attributes:
        returns: return of every episode, float64 ``[episodes]``.
        won: whether the return reaches the threshold, boolean ``[episodes]``.
        observation: clean observations, ``[episodes, steps, 1, features]``.
        action: ``[episodes, steps, 1, actions]``.
        reward: ``[episodes, steps, 1]``.
        played: steps that were played, boolean ``[episodes, steps]``.
    """

    returns: Tensor
    won: Tensor
    observation: Tensor
    action: Tensor
    reward: Tensor
    played: Tensor


class _Running:
    """Episodes that are being played."""

    def __init__(self, environment: GymnasiumEnvironment) -> None:
        self._environment, episodes = environment, environment.episodes
        self._single = [environment.make() for _ in range(episodes)]
        seeds = (derive(environment.seed, "start", i) for i in range(episodes))
        starts = [one.reset(seed=s)[0] for one, s in zip(self._single, seeds, strict=True)]
        self._raw = np.stack(starts)
        self._returns = torch.zeros(episodes, dtype=torch.float64)
        self._frames: list[tuple[Tensor, ...]] = []
        self.running = torch.arange(episodes)
        self.observation = self._seen()

    def step(self, action: Tensor) -> None:
        """Play one step of every running episode with actions ``[running, 1, actions]``."""
        rewards, going = torch.zeros(len(self.running), dtype=torch.float64), []
        for row, (index, chosen) in enumerate(
            zip(self.running.tolist(), action[:, 0].numpy(), strict=True)
        ):
            one = self._single[index]
            raw, reward, ended, cut, _ = one.step(native_action(one.action_space, chosen))
            self._raw[index], rewards[row] = raw, float(reward)
            going.append(not (ended or cut))
        self._returns[self.running] += rewards
        self._frames.append((self.running, self.observation, action, rewards[:, None].float()))
        last = len(self._frames) == self._environment.limit
        self.running = self.running[torch.tensor(going) & (not last)]
        self.observation = self._seen()

    def record(self) -> Record:
        """Close the environments and return the record of the episodes."""
        for one in self._single:
            one.close()
        shape = (self._environment.episodes, len(self._frames))
        played = torch.zeros(shape, dtype=torch.bool)
        kept = [part.new_zeros(*shape, *part.shape[1:]) for part in self._frames[0][1:]]
        for step, (rows, *parts) in enumerate(self._frames):
            played[rows, step] = True
            for whole, part in zip(kept, parts, strict=True):
                whole[rows, step] = part
        won = self._returns >= self._environment.solved_at
        observation, action, reward = kept
        return Record(self._returns, won, observation, action, reward, played)

    def _seen(self) -> Tensor:
        return self._environment.sight(self._raw[self.running.numpy()]).unsqueeze(1)


def head_of(space: spaces.Space[Any], continuous: type[GaussianHead] = GaussianHead) -> Head:
    """The head of a policy for an action space.

    Args:
        space: Box, Discrete, MultiDiscrete, MultiBinary, or a Dict or Tuple of discrete spaces,
            whose logits are concatenated.
        continuous: class of the head for a Box.

    Raises:
        ValueError: another space.

    Example:
        >>> head_of(spaces.Dict({"go": spaces.Discrete(3), "say": spaces.MultiBinary(2)}))
        CategoricalHead(sizes=(3, 2, 2))
    """
    if isinstance(space, spaces.Box):
        return continuous(*(torch.as_tensor(end).flatten() for end in (space.low, space.high)))
    return CategoricalHead(tuple(_sizes(space)))


def native_action(space: spaces.Space[Any], numbers: np.ndarray) -> Any:
    """Convert numbers ``[actions]`` to a member of the action space.

    Example:
        >>> space = spaces.Dict({"go": spaces.Discrete(3, start=1), "say": spaces.MultiBinary(2)})
        >>> native_action(space, np.array([2, 0, 1]))
        {'go': 3, 'say': array([0, 1], dtype=int8)}
    """
    if isinstance(space, spaces.Dict):
        return dict(zip(space, _parts(space.values(), numbers), strict=True))
    if isinstance(space, spaces.Tuple):
        return tuple(_parts(space, numbers))
    if isinstance(space, spaces.Discrete):
        return int(numbers[0] + space.start)
    start = space.start if isinstance(space, spaces.MultiDiscrete) else 0
    return (numbers.reshape(space.shape) + start).astype(space.dtype)


def _parts(members: Any, numbers: np.ndarray) -> list[Any]:
    found, first = [], 0
    for space in members:
        count = len(_sizes(space))
        found.append(native_action(space, numbers[first : first + count]))
        first += count
    return found


def _sizes(space: spaces.Space[Any]) -> list[int]:
    """Numbers of choices of a discrete space."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        members = space.values() if isinstance(space, spaces.Dict) else space
        return [size for member in members for size in _sizes(member)]
    if isinstance(space, spaces.Discrete):
        return [int(space.n)]
    if isinstance(space, spaces.MultiDiscrete):
        return [int(size) for size in space.nvec.flatten()]
    if isinstance(space, spaces.MultiBinary):
        return [2] * int(np.prod(space.shape))
    raise ValueError(f"actions of {space} have no head; give discrete ones, or a Box by itself")
