"""Hide-and-seek through PettingZoo's parallel API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aajr.envs.hide_and_seek.config import HideAndSeekConfig

if TYPE_CHECKING:
    from pettingzoo import ParallelEnv


def parallel_env(config: HideAndSeekConfig | None = None, seed: int = 0) -> ParallelEnv:
    """One game as a PettingZoo parallel environment.

    Args:
        config: the game.
        seed: of the initial states until ``reset(seed=...)`` gives another.

    Returns:
        A ``ParallelEnv`` with agents ``hider_0`` .. ``seeker_0`` ..

    Raises:
        ImportError: PettingZoo is missing.

    Example:
        >>> env = parallel_env()
        >>> observations, _ = env.reset(seed=1)
        >>> observations["hider_0"].shape
        (60,)
    """
    try:
        from pettingzoo import ParallelEnv
    except ImportError as error:
        raise ImportError(
            "parallel_env needs PettingZoo: pip install 'aajr[pettingzoo]'"
        ) from error
    import gymnasium
    import numpy as np
    import torch
    import vmas

    from aajr.envs.hide_and_seek.scenario import HideAndSeek

    game = config or HideAndSeekConfig()

    class _Parallel(ParallelEnv):  # type: ignore[misc]
        metadata = {"name": "hide_and_seek_v0", "render_modes": []}  # noqa: RUF012

        def __init__(self) -> None:
            self._env = vmas.make_env(
                HideAndSeek(game),
                num_envs=1,
                seed=seed,
                max_steps=game.max_steps,
                continuous_actions=not game.discrete,
                multidiscrete_actions=game.discrete,
            )
            self.possible_agents = [agent.name for agent in self._env.agents]
            self.agents: list[str] = []
            self.render_mode = None
            self._spaces = {
                agent.name: self._env.get_agent_action_space(agent) for agent in self._env.agents
            }
            first = self._env.reset()
            self._observation_spaces = {
                name: gymnasium.spaces.Box(-np.inf, np.inf, (value.shape[1],), np.float32)
                for name, value in zip(self.possible_agents, first, strict=True)
            }

        def observation_space(self, agent: str) -> Any:
            return self._observation_spaces[agent]

        def action_space(self, agent: str) -> Any:
            return self._spaces[agent]

        def reset(self, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
            observations = self._env.reset(seed=seed)
            self.agents = list(self.possible_agents)
            return self._named(observations), {name: {} for name in self.agents}

        def step(self, actions: dict[str, Any]) -> tuple[Any, Any, Any, Any, Any]:
            played = [torch.as_tensor(np.asarray(actions[n]))[None] for n in self.possible_agents]
            observations, gains, done, infos = self._env.step(played)
            over = bool(done.all())
            names = self.possible_agents
            result = (
                self._named(observations),
                {n: float(g) for n, g in zip(names, gains, strict=True)},
                dict.fromkeys(names, False),
                dict.fromkeys(names, over),
                {n: {k: float(v) for k, v in i.items()} for n, i in zip(names, infos, strict=True)},
            )
            if over:
                self.agents = []
            return result

        def _named(self, observations: Any) -> dict[str, Any]:
            pairs = zip(self.possible_agents, observations, strict=True)
            return {name: value[0].cpu().numpy() for name, value in pairs}

    return _Parallel()
