"""gymnax's environments in the arena: all episodes are stepped by one compiled function."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

try:
    import gymnax
    import jax
    import jax.numpy as jnp
except ImportError as error:
    raise ImportError("aajr.integrations.gymnax needs gymnax: pip install gymnax") from error

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from aajr._checks import check_count
from aajr._seeds import derive
from aajr.arena.environments.running import RunningAgent
from aajr.arena.environments.views import View, Viewed, flat
from aajr.arena.spaces.gymnasium import native_action
from aajr.arena.threats import Claims
from aajr.integrations.foreign_spaces import gymnasium_space

__all__ = ["GymnaxEnvironment", "episode_keys"]


@dataclass(frozen=True, eq=False)
class GymnaxEnvironment(Viewed):
    """Episodes of one environment of gymnax, each with a random key of its own.

    It is an :class:`aajr.arena.environments.protocols.Environment` of one agent. gymnax resets an
    ended episode by itself; what follows its end is not recorded.

    Attributes:
        source: a name that gymnax knows, or an environment.
        episodes: number of episodes.
        seed: seed of all keys, see :func:`episode_keys`.
        params: parameters of the environment; None for its defaults.
        sight: function from raw observations to the agent's input ``[rows, features]``, as in
            :class:`aajr.arena.environments.gymnasium.GymnasiumEnvironment`.
        limit: steps after which every episode is cut; None for the environment's own limit.
        solved: return from which an episode counts as won.
        attack_choices: whether the adversary may also change one-hot features.

    Raises:
        ValueError: an unknown name, observations without a fixed size, no limit of time.

    Example:
        >>> environment = GymnaxEnvironment("CartPole-v1", episodes=2, seed=0)
        >>> environment.features, environment.steps
        (4, 500)
    """

    source: Any
    episodes: int
    seed: int
    params: Any = None
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
        _ = self.view

    @cached_property
    def game(self) -> Any:
        """The environment of gymnax."""
        if not isinstance(self.source, str):
            return self.source
        if self.source not in gymnax.registered_envs:
            known = ", ".join(gymnax.registered_envs)
            raise ValueError(f"source={self.source!r} is not in gymnax; it has {known}")
        return _made(self.source)[0]

    @cached_property
    def settings(self) -> Any:
        """The parameters of the environment."""
        return self.game.default_params if self.params is None else self.params

    @cached_property
    def action_space(self) -> Any:
        """Gymnasium's space of the actions, for :func:`aajr.arena.spaces.gymnasium.head_of`."""
        return gymnasium_space(self.game.action_space(self.settings))

    @cached_property
    def view(self) -> View:
        """What the agent reads of the observations."""
        space = gymnasium_space(self.game.observation_space(self.settings))
        return View(space, self.sight, self.attack_choices)

    @property
    def steps(self) -> int:
        """Greatest length of an episode."""
        own = getattr(self.settings, "max_steps_in_episode", None)
        known = [int(limit) for limit in (self.limit, own) if limit is not None]
        if not known:
            raise ValueError(f"source={self.source!r} has no limit of time; give limit=")
        return min(known)

    @property
    def solved_at(self) -> float:
        """Return from which an episode counts as won."""
        return float("inf") if self.solved is None else self.solved

    @property
    def facts(self) -> dict[str, Any]:
        """The settings as JSON values."""
        name = self.source if isinstance(self.source, str) else type(self.source).__qualname__
        facts: dict[str, Any] = {"environment": f"gymnax:{name}", "params": str(self.settings)}
        facts |= {"limit": self.limit, "solved": self.solved}
        return facts | ({"attack_choices": True} if self.attack_choices else {})

    def resized(self, episodes: int, seed: int) -> GymnaxEnvironment:
        """A copy with another number of episodes and another seed."""
        return replace(self, episodes=episodes, seed=seed)

    def reset(self) -> _Running:
        """Start all episodes."""
        return _Running(self)


def episode_keys(seed: int, episodes: int) -> Any:
    """The random key of each episode.

    The key is split before the reset and before every step; the second half is used, and the first
    is split again.

    Args:
        seed: seed of the environment.
        episodes: number of episodes.
    """
    seeds = [derive(seed, "start", index) for index in range(episodes)]
    return jax.vmap(jax.random.key)(jnp.asarray(seeds, jnp.uint32))


_made = functools.lru_cache(gymnax.make)


@functools.lru_cache(maxsize=32)
def _compiled(game: Any, settings: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Reset and step of all episodes at once; both also split the keys."""

    def reset(keys: Any) -> tuple[Any, Any, Any]:
        keys, now = _split(keys)
        return keys, *jax.vmap(lambda key: game.reset(key, settings))(now)

    def step(keys: Any, state: Any, action: Any) -> Any:
        keys, now = _split(keys)
        found = jax.vmap(lambda k, s, a: game.step(k, s, a, settings))(now, state, action)
        _, state, reward, terminated, truncated, info = found
        return keys, info["final_observation"], state, reward, terminated, truncated

    return jax.jit(reset), jax.jit(step)


def _split(keys: Any) -> tuple[Any, Any]:
    both = jax.vmap(jax.random.split)(keys)
    return both[:, 0], both[:, 1]


class _Running(RunningAgent):
    """Episodes that are being played."""

    def __init__(self, environment: GymnaxEnvironment) -> None:
        super().__init__(environment)
        self._environment = environment
        begin, self._play = _compiled(environment.game, environment.settings)
        keys = episode_keys(environment.seed, environment.episodes)
        self._keys, self._raw, self._state = begin(keys)
        self.observation = self._seen()

    def _played(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        chosen = self._native(action)
        self._keys, self._raw, self._state, *rest = self._play(self._keys, self._state, chosen)
        gained, ended, cut = (torch.from_numpy(np.array(part))[self.running] for part in rest)
        return gained.double(), ended.bool(), cut.bool()

    def _native(self, action: Tensor) -> Any:
        """Actions of all episodes; those that are over repeat the first running one's."""
        space = self._environment.action_space
        own = [native_action(space, numbers) for numbers in action.numpy()]
        every = [own[0]] * self._environment.episodes
        for row, one in zip(self.running.tolist(), own, strict=True):
            every[row] = one
        return jax.tree.map(lambda *several: np.stack(several), *every)

    def _seen(self) -> Tensor:
        view, rows = self._environment.view, self.running.numpy()
        parts = jax.tree.map(np.asarray, self._raw)
        if isinstance(parts, np.ndarray) and isinstance(view.space, spaces.Box):
            return view.sight(parts[rows]).unsqueeze(1)
        several = [jax.tree.map(lambda part, row=row: part[row], parts) for row in rows]
        return view.sight(view.raw(several)).unsqueeze(1)
