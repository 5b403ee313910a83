"""Hide-and-seek through PettingZoo's parallel API."""

from __future__ import annotations

from typing import Any

import torch

from aajr.hide_and_seek.game.config import HideAndSeekConfig
from aajr.hide_and_seek.game.scenario import HideAndSeek

try:
    import gymnasium
    import numpy as np
    import vmas
    from gymnasium.error import ResetNeeded
    from pettingzoo import ParallelEnv
except ImportError as error:
    raise ImportError(
        "parallel_env needs VMAS and PettingZoo: pip install 'aajr[rl,pettingzoo]'"
    ) from error


class _HideAndSeekParallel(ParallelEnv):  # type: ignore[misc]
    """One game. Every agent acts at every step, and all agents end at the same step."""

    metadata = {"name": "hide_and_seek_v0", "render_modes": []}  # noqa: RUF012
    render_mode = None

    def __init__(self, config: HideAndSeekConfig, seed: int) -> None:
        self._scenario = HideAndSeek(config)
        self._scenario.seed(seed)
        self._env = vmas.make_env(
            self._scenario,
            num_envs=1,
            max_steps=config.max_steps,
            continuous_actions=not config.discrete,
            multidiscrete_actions=config.discrete,
        )
        self.possible_agents = [agent.name for agent in self._env.agents]
        self.agents: list[str] = []
        self._spaces = {
            agent.name: _gymnasium_space(self._env.get_agent_action_space(agent))
            for agent in self._env.agents
        }
        self._observation_spaces = {
            name: gymnasium.spaces.Box(-np.inf, np.inf, space.shape, np.float32)
            for name, space in zip(self.possible_agents, self._env.observation_space, strict=True)
        }
        self._scenario.seed(seed)

    def observation_space(self, agent: str) -> Any:
        return self._observation_spaces[agent]

    def action_space(self, agent: str) -> Any:
        return self._spaces[agent]

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        if seed is not None:
            self._scenario.seed(seed)
        self.agents = list(self.possible_agents)
        return self._named(self._env.reset()), {name: {} for name in self.agents}

    def step(self, actions: dict[str, Any]) -> tuple[Any, Any, Any, Any, Any]:
        names = self.possible_agents
        played = [torch.as_tensor(value)[None] for value in self._checked(actions)]
        observations, gains, done, infos = self._env.step(played)
        over = bool(done.all())
        if over:
            self.agents = []
        return (
            self._named(observations),
            {n: float(gain) for n, gain in zip(names, gains, strict=True)},
            dict.fromkeys(names, False),
            dict.fromkeys(names, over),
            {n: {k: float(v) for k, v in i.items()} for n, i in zip(names, infos, strict=True)},
        )

    def _checked(self, actions: dict[str, Any]) -> list[np.ndarray]:
        """Return all agents' actions in order, or raise if an agent or an action is not allowed."""
        if not self.agents:
            raise ResetNeeded("no game is running: it is over or was not started; call reset()")
        absent = [name for name in self.agents if name not in actions]
        strangers = [name for name in actions if name not in self.agents]
        if absent or strangers:
            raise ValueError(
                f"actions lacks {absent} and has {strangers} besides; give one action for every "
                "name in agents, all act at every step"
            )
        return [_allowed(name, actions[name], self._spaces[name]) for name in self.agents]

    def _named(self, observations: Any) -> dict[str, Any]:
        pairs = zip(self.possible_agents, observations, strict=True)
        return {name: value[0].cpu().numpy() for name, value in pairs}


def _allowed(name: str, action: Any, space: gymnasium.Space) -> np.ndarray:
    continuous = isinstance(space, gymnasium.spaces.Box)
    value = np.asarray(action, dtype=np.float32 if continuous else None)
    if not space.contains(value):
        raise ValueError(f"actions[{name!r}]={action!r} is not allowed; give one of {space}")
    return value


def _gymnasium_space(space: Any) -> gymnasium.Space:
    # VMAS builds spaces of the old gym package, which users of Gymnasium reject
    if hasattr(space, "nvec"):
        return gymnasium.spaces.MultiDiscrete(space.nvec)
    return gymnasium.spaces.Box(space.low, space.high, space.shape, np.float32)


def parallel_env(config: HideAndSeekConfig | None = None, seed: int = 0) -> ParallelEnv:
    """Make one game as a PettingZoo parallel environment.

    Args:
        config: the game.
        seed: seed of the initial states, until ``reset(seed=...)`` gives another one.

    Returns:
        A ``ParallelEnv`` with agents ``hider_0``, ``hider_1``, ..., ``seeker_0``, ... Its ``step``
        raises ValueError if an agent has no action, a name is unknown or an action is outside its
        space. It raises ``gymnasium.error.ResetNeeded`` after the end and before the first
        ``reset``.

    Raises:
        ImportError: VMAS or PettingZoo is not installed.

    Example:
        >>> env = parallel_env()
        >>> observations, _ = env.reset(seed=1)
        >>> observations["hider_0"].shape
        (60,)
    """
    return _HideAndSeekParallel(config or HideAndSeekConfig(), seed)
