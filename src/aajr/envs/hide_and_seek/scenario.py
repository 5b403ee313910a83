"""The VMAS scenario, and the TorchRL environment around it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from aajr.envs.hide_and_seek.config import HideAndSeekConfig, Team
from aajr.envs.hide_and_seek.dynamics import advance
from aajr.envs.hide_and_seek.observation import observe
from aajr.envs.hide_and_seek.outcome import rewards
from aajr.envs.hide_and_seek.state import initial_state, wall_tensors
from aajr.envs.hide_and_seek.visibility import in_cone, lidar, line_of_sight

try:
    from torchrl.envs.libs.vmas import VmasEnv
    from vmas.simulator.core import Agent, Box, Landmark, Sphere, World
    from vmas.simulator.dynamics.static import Static
    from vmas.simulator.scenario import BaseScenario
    from vmas.simulator.utils import Color
except ImportError as error:
    raise ImportError("hide-and-seek needs VMAS and TorchRL: pip install 'aajr[rl]'") from error


class _KinematicWorld(World):  # type: ignore[misc]
    """A world whose step is the game's own kinematics, for all agents at once."""

    game: HideAndSeek

    def step(self) -> None:
        self.game.play()


class HideAndSeek(BaseScenario):  # type: ignore[misc]
    """Hide-and-seek for VMAS.

    Args:
        config: the game; the default is 5 hiders against 5 seekers.

    Example:
        >>> import vmas
        >>> env = vmas.make_env(HideAndSeek(), num_envs=2, continuous_actions=False,
        ...                     multidiscrete_actions=True, max_steps=64, seed=0)
        >>> len(env.reset())
        10
    """

    def __init__(self, config: HideAndSeekConfig | None = None) -> None:
        super().__init__()
        self.config = config or HideAndSeekConfig()

    def make_world(self, batch_dim: int, device: torch.device, **kwargs: Any) -> World:
        """Build the world; the game's state lives in batched tensors, entities mirror it."""
        world = _KinematicWorld(batch_dim, device, x_semidim=1, y_semidim=1)
        world.game = self
        for team, count in (("hider", self.config.n_hiders), ("seeker", self.config.n_seekers)):
            for index in range(count):
                world.add_agent(self._agent(team, index))
        for index, wall in enumerate(self.config.walls):
            shape = Box(length=2 * wall[2], width=2 * wall[3])
            world.add_landmark(Landmark(f"wall_{index}", shape=shape, color=Color.BLACK))
        for index in range(self.config.n_boxes):
            size = 2 * self.config.box_half_size[0]
            shape = Box(length=size, width=size)
            world.add_landmark(Landmark(f"box_{index}", shape=shape, color=Color.GRAY))
        centre, half = wall_tensors(self.config, torch.device(device))
        self.walls = centre.expand(batch_dim, -1, -1)
        self.wall_half = half.expand(batch_dim, -1, -1)
        return world

    def _agent(self, team: str, index: int) -> Agent:
        heads: dict[str, Any] = {"action_size": 2}
        if self.config.discrete:
            heads = {"action_size": 4, "discrete_action_nvec": [11, 11, 2, 2]}
        return Agent(
            name=f"{team}_{index}",
            shape=Sphere(radius=self.config.agent_radius),
            color=Color.GREEN if team == "hider" else Color.RED,
            dynamics=Static(),
            collide=False,
            **heads,
        )

    def reset_world_at(self, env_index: int | None = None) -> None:
        """Start all games, or one, from a seed drawn from VMAS's own stream."""
        device = self.world.device
        seed = int(torch.randint(2**31 - 1, ()))
        generator = torch.Generator(device).manual_seed(seed)
        envs = self.world.batch_dim if env_index is None else 1
        fresh = initial_state(self.config, envs, generator, torch.device(device))
        if env_index is None:
            self.state = fresh
        else:
            self.state.replace_row(env_index, fresh)
        self._look()
        self._mirror()

    @torch.no_grad()
    def play(self) -> None:
        """One step of all games from the agents' actions."""
        actions = torch.stack([agent.action.u for agent in self.world.agents], 1)
        held = actions[..., 2:] > 0
        if not self.config.discrete:
            held = torch.zeros_like(actions, dtype=torch.bool)
        self.state = advance(
            self.state,
            actions[..., :2],
            held[..., 0],
            held[..., 1],
            self.walls,
            self.wall_half,
            self.config,
        )
        self._look()
        self._mirror()

    def observation(self, agent: Agent) -> Tensor:
        """The agent's observation, ``[envs, features]``; see the module ``observation``."""
        team, index = self._member(agent)
        return self._observations[team][:, index]

    def reward(self, agent: Agent) -> Tensor:
        """The agent's reward, ``[envs]``."""
        team, index = self._member(agent)
        return self._rewards[:, index if team == "hider" else self.config.n_hiders + index]

    def info(self, agent: Agent) -> dict[str, Tensor]:
        """``seen``: 1 if a seeker sees the hider, or if the seeker sees a hider, ``[envs]``."""
        team, index = self._member(agent)
        return {"seen": self._seen[team][:, index]}

    def _member(self, agent: Agent) -> tuple[Team, int]:
        team, index = agent.name.split("_")
        return team, int(index)

    def _look(self) -> None:
        """Visibility, observations and rewards of the present state, once for all agents."""
        config, state = self.config, self.state
        sizes = [config.n_hiders, config.n_seekers]
        hiders, seekers = torch.split(state.agents, sizes, 1)
        centre = torch.cat([self.walls, state.boxes], 1)
        half = torch.cat([self.wall_half, state.box_half], 1)
        sight = line_of_sight(seekers, hiders, centre, half, config.view_radius)
        seeker_sees, hider_sees = sight, sight.transpose(1, 2)
        if config.view_cone:
            facing = torch.split(state.heading, sizes, 1)
            hider_sees = hider_sees & in_cone(hiders, facing[0], seekers, config.view_cone)
            seeker_sees = seeker_sees & in_cone(seekers, facing[1], hiders, config.view_cone)
        ranges: tuple[Tensor | None, Tensor | None] = (None, None)
        if config.lidar_rays:
            scan = lidar(state.agents, config.lidar_rays, config.view_radius, centre, half)
            ranges = scan[:, : config.n_hiders], scan[:, config.n_hiders :]
        self._observations = {
            "hider": observe(state, hider_sees, ranges[0], config, "hider"),
            "seeker": observe(state, seeker_sees, ranges[1], config, "seeker"),
        }
        self._seen = {
            "hider": seeker_sees.any(1).to(torch.float32),
            "seeker": seeker_sees.any(2).to(torch.float32),
        }
        self._rewards = rewards(seeker_sees, state.step > config.preparation_steps, config)

    def _mirror(self) -> None:
        """Show the state in VMAS's entities, without its per-entity checks."""
        for index, agent in enumerate(self.world.agents):
            agent.state._pos = self.state.agents[:, index]
            agent.state._vel = self.state.velocity[:, index]
        for index, landmark in enumerate(self.world.landmarks):
            walls = len(self.config.walls)
            boxed = index >= walls
            landmark.state._pos = (
                self.state.boxes[:, index - walls] if boxed else self.walls[:, index]
            )


def make_torchrl_env(
    config: HideAndSeekConfig,
    num_envs: int,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> VmasEnv:
    """Hide-and-seek as TorchRL's VmasEnv, with groups ``hider`` and ``seeker``.

    Args:
        config: the game.
        num_envs: games played at once.
        seed: of the initial states.
        device: where to simulate.

    Returns:
        Environment with ``(group, "observation")`` ``[num_envs, team, features]`` and
        ``(group, "action")`` ``[num_envs, team, 4]`` (or 2 continuous ones).

    Example:
        >>> env = make_torchrl_env(HideAndSeekConfig(), num_envs=2)
        >>> env.rollout(3)["hider", "observation"].shape
        torch.Size([2, 3, 5, 60])
    """
    return VmasEnv(
        HideAndSeek(config),
        num_envs=num_envs,
        seed=seed,
        device=device,
        max_steps=config.max_steps,
        continuous_actions=not config.discrete,
        multidiscrete_actions=config.discrete,
        categorical_actions=True,
    )
