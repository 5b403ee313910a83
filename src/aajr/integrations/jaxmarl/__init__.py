"""JaxMARL's environments as parallel environments of PettingZoo, for the arena."""

from __future__ import annotations

import functools
from typing import Any

try:
    import jax
    import jaxmarl
    from pettingzoo import ParallelEnv
except ImportError as error:
    raise ImportError(
        "aajr.integrations.jaxmarl needs JaxMARL and PettingZoo: pip install jaxmarl pettingzoo"
    ) from error

import numpy as np
from gymnasium import spaces

from aajr.integrations.foreign_spaces import gymnasium_space

__all__ = ["parallel_env"]


def parallel_env(environment: Any, masks: bool = False) -> ParallelEnv:
    """One game of JaxMARL as a parallel environment of PettingZoo.

    The random key of ``reset(seed=...)`` is ``PRNGKey(seed)``. It is split before the reset and
    before every step; the second half is used, and the first is split again. An agent that is done
    leaves the game; JaxMARL then gets zeros as its action. A game that ends at the environment's
    ``max_steps`` or later is truncated; JaxMARL's particle games play one step more.

    With ``masks`` an agent is shown ``{"action_mask": ..., "observation": ...}``: what
    ``get_avail_actions`` tells of it, one truth value for each action, and its observation. The
    arena lets no adversary change the mask; :func:`aajr.arena.agents.masks.masked` makes of any
    agent one that reads it and takes no action that is not available.

    Args:
        environment: a name that JaxMARL knows, or an environment; give the same object for all
            games, since each object is compiled anew.
        masks: whether to show which actions are available.

    Raises:
        ValueError: an unknown name, or masks of an environment that tells none.

    Example:
        >>> game = parallel_env("MPE_simple_spread_v3")
        >>> game.possible_agents, game.observation_space("agent_0").shape
        (['agent_0', 'agent_1', 'agent_2'], (18,))
    """
    return _Game(_made(environment) if isinstance(environment, str) else environment, masks)


@functools.lru_cache
def _made(name: str) -> Any:
    if name not in jaxmarl.registered_envs:
        known = ", ".join(jaxmarl.registered_envs)
        raise ValueError(f"environment={name!r} is not in JaxMARL; it has {known}")
    return jaxmarl.make(name)


def _mask_sizes(game: Any) -> dict[str, int]:
    """Length of every agent's mask, without a game being played."""

    def first(key: Any) -> Any:
        return game.get_avail_actions(game.reset(key)[1])

    try:
        told = jax.eval_shape(first, jax.random.PRNGKey(0))
    except (AttributeError, NotImplementedError):
        raise ValueError(
            f"masks=True, but {type(game).__name__} has no get_avail_actions; leave masks out"
        ) from None
    return {name: mask.size for name, mask in told.items()}


class _Game(ParallelEnv):  # type: ignore[misc]
    """A running game."""

    metadata: dict[str, Any] = {"name": "jaxmarl"}  # noqa: RUF012 - the base class declares it so

    def __init__(self, game: Any, masks: bool) -> None:
        self.game, self.masks = game, masks
        self.possible_agents = list(game.agents)
        self.agents: list[str] = []
        self.observation_spaces = self._spaces(game.observation_space)
        self.action_spaces = self._spaces(game.action_space)
        if masks:
            sizes = _mask_sizes(game)
            self.observation_spaces = {
                name: spaces.Dict(
                    {"action_mask": spaces.MultiBinary(sizes[name]), "observation": space}
                )
                for name, space in self.observation_spaces.items()
            }

    @property
    def max_steps(self) -> int | None:
        """The environment's own limit of time."""
        limit = getattr(self.game, "max_steps", None)
        return None if limit is None else int(limit)

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """Space of what an agent sees."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space[Any]:
        """Space of an agent's actions."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start a game; seed 0 if none is given."""
        self.key, now = jax.random.split(jax.random.PRNGKey(seed or 0))
        shown, self.state = self.game.reset(now)
        self.agents, self.time = list(self.possible_agents), 0
        return self._seen(shown, self.agents), {name: {} for name in self.agents}

    def step(self, actions: dict[str, Any]) -> tuple[dict[str, Any], ...]:
        """Play one step with an action of every agent in the game."""
        self.key, now = jax.random.split(self.key)
        orders = {  # always arrays of the same kinds, for which the step is compiled once
            name: np.broadcast_to(np.asarray(actions.get(name, 0), space.dtype), space.shape)
            for name, space in self.action_spaces.items()
        }
        shown, self.state, gained, done, _ = self.game.step(now, self.state, orders)
        before, self.time = self.agents, self.time + 1
        cut = bool(done["__all__"]) and self.time >= (self.max_steps or np.inf)
        over = {name: bool(done[name]) or bool(done["__all__"]) for name in before}
        self.agents = [name for name in before if not over[name]]
        return (
            self._seen(shown, before),
            {name: float(gained[name]) for name in before},
            {name: over[name] and not cut for name in before},
            {name: over[name] and cut for name in before},
            {name: {} for name in before},
        )

    def close(self) -> None:
        """Nothing to close."""

    def _seen(self, shown: Any, names: list[str]) -> dict[str, Any]:
        seen = {name: jax.tree.map(np.asarray, shown[name]) for name in names}
        if not self.masks:
            return seen
        allowed = self.game.get_avail_actions(self.state)
        return {
            name: {"action_mask": np.asarray(allowed[name], np.int8), "observation": seen[name]}
            for name in names
        }

    def _spaces(self, space_of: Any) -> dict[str, spaces.Space[Any]]:
        return {name: gymnasium_space(space_of(name)) for name in self.possible_agents}
