"""The VMAS scenario."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from aajr.hide_and_seek.game.actions import BINS
from aajr.hide_and_seek.game.config import HideAndSeekConfig, Team
from aajr.hide_and_seek.game.dynamics import advance
from aajr.hide_and_seek.game.observation import observe
from aajr.hide_and_seek.game.outcome import rewards
from aajr.hide_and_seek.game.state import draw_radio_noise, initial_state, wall_tensors
from aajr.hide_and_seek.game.visibility import in_cone, lidar, line_of_sight

try:
    from vmas.simulator.core import Agent, Box, Landmark, Sphere, World
    from vmas.simulator.dynamics.static import Static
    from vmas.simulator.scenario import BaseScenario
    from vmas.simulator.utils import Color
except ImportError as error:
    raise ImportError("hide-and-seek needs VMAS: pip install 'aajr[rl]'") from error


class _KinematicWorld(World):  # type: ignore[misc]
    """A VMAS world whose step applies the game's own kinematics to all agents at once."""

    game: HideAndSeek

    def step(self) -> None:
        self.game.play()


class _Crate(Landmark):  # type: ignore[misc]
    """A box, drawn in the size that it has in the displayed environment."""

    def __init__(self, game: HideAndSeek, index: int) -> None:
        size = 2 * game.config.box_half_size[0]
        shape = Box(length=size, width=size)
        super().__init__(f"box_{index}", shape=shape, color=Color.GRAY)
        self._game, self._index = game, index

    def render(self, env_index: int = 0) -> list[Any]:
        """Shapes that VMAS draws for the box; none if there was no room for the box."""
        length, width = (2 * self._game.state.box_half[env_index, self._index]).tolist()
        if length == 0:
            return []
        self._shape = Box(length=length, width=width)
        return list(super().render(env_index))


class HideAndSeek(BaseScenario):  # type: ignore[misc]
    """Hide-and-seek for VMAS.

    Args:
        config: the game; the default is 5 hiders against 5 seekers.

    Attributes:
        sights: whether each seeker sees each hider now, boolean ``[envs, seekers, hiders]``.

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
        self._generator: torch.Generator | None = None

    def make_world(self, batch_dim: int, device: torch.device, **kwargs: Any) -> World:
        """Build the world. Batched tensors hold the game's state; VMAS's entities mirror it."""
        world = _KinematicWorld(batch_dim, device, x_semidim=1, y_semidim=1)
        world.game = self
        for team, count in (("hider", self.config.n_hiders), ("seeker", self.config.n_seekers)):
            for index in range(count):
                world.add_agent(self._agent(team, index))
        for index, wall in enumerate(self.config.walls):
            shape = Box(length=2 * wall[2], width=2 * wall[3])
            world.add_landmark(Landmark(f"wall_{index}", shape=shape, color=Color.BLACK))
        for index in range(self.config.n_boxes):
            world.add_landmark(_Crate(self, index))
        centre, half = wall_tensors(self.config, torch.device(device))
        self.walls = centre.expand(batch_dim, -1, -1)
        self.wall_half = half.expand(batch_dim, -1, -1)
        return world

    def _agent(self, team: str, index: int) -> Agent:
        heads: dict[str, Any] = {"action_size": 2}
        if self.config.discrete:
            heads = {"action_size": 4, "discrete_action_nvec": list(BINS)}
        return Agent(
            name=f"{team}_{index}",
            shape=Sphere(radius=self.config.agent_radius),
            color=Color.GREEN if team == "hider" else Color.RED,
            dynamics=Static(),
            collide=False,
            **heads,
        )

    def seed(self, seed: int) -> None:
        """Draw initial states from a random stream of this scenario's own.

        Without this call they come from VMAS's random stream. ``reset(seed=...)`` of the VMAS
        environment seeds that stream, and all VMAS environments of a process share it.
        """
        self._generator = torch.Generator().manual_seed(seed)

    def reset_world_at(self, env_index: int | None = None) -> None:
        """Restart all games, or only the game with the given index."""
        device = torch.device(self.world.device)
        seed = int(torch.randint(2**31 - 1, (), generator=self._generator))
        generator = torch.Generator(device).manual_seed(seed)
        envs = self.world.batch_dim if env_index is None else 1
        fresh = initial_state(self.config, envs, generator, device)
        if env_index is None:
            self.state, self._radio_source = fresh, generator
        else:
            self.state.replace_row(env_index, fresh)
        self._look()
        self._mirror()

    def play(self) -> None:
        """Advance all games by one step, with the actions that VMAS's agents hold."""
        self.act(torch.stack([agent.action.u for agent in self.world.agents], 1))

    @torch.no_grad()
    def act(self, actions: Tensor) -> None:
        """Advance all games by one step.

        Args:
            actions: actions in [-1, 1], first of hiders, then of seekers, ``[envs, agents, 4]``: x
                and y velocity, grab if positive, lock if positive. In the continuous variant they
                are ``[envs, agents, 2]``, x and y only.
        """
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
        self._listen()
        self._look()
        self._mirror()

    def views(self, team: Team) -> dict[str, Tensor]:
        """Observations, rewards and ``seen`` of a whole team, each ``[envs, team, ...]``."""
        hiders = self.config.n_hiders
        members = slice(0, hiders) if team == "hider" else slice(hiders, self.config.n_agents)
        return {
            "observation": self._observations[team],
            "reward": self._rewards[:, members],
            "seen": self._seen[team],
        }

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

    def _listen(self) -> None:
        """Draw new radio noise; it does not depend on the agents' actions."""
        if self.config.radio is not None:
            envs, device = self.world.batch_dim, torch.device(self.world.device)
            noise = draw_radio_noise(self.config, envs, self._radio_source, device)
            self.state = replace(self.state, radio_noise=noise)

    def _look(self) -> None:
        """Compute visibility, observations and rewards of the current state for all agents."""
        config, state = self.config, self.state
        sizes = [config.n_hiders, config.n_seekers]
        hiders, seekers = torch.split(state.agents, sizes, 1)
        centre = torch.cat([self.walls, state.boxes], 1)
        half = torch.cat([self.wall_half, state.box_half], 1)
        sight = line_of_sight(seekers, hiders, centre, half, config.view_radius)
        seeker_sees, hider_sees = sight, sight.transpose(1, 2)
        if config.radio is not None:
            hider_sees = hider_sees & (torch.cdist(hiders, seekers) <= config.radio.sight)
        if config.view_cone:
            facing = torch.split(state.heading, sizes, 1)
            hider_sees = hider_sees & in_cone(hiders, facing[0], seekers, config.view_cone)
            seeker_sees = seeker_sees & in_cone(seekers, facing[1], hiders, config.view_cone)
        ranges = None
        if config.lidar_rays:
            ranges = lidar(state.agents, config.lidar_rays, config.view_radius, centre, half)
        visible: dict[Team, Tensor] = {"hider": hider_sees, "seeker": seeker_sees}
        self._observations = observe(state, visible, ranges, config)
        self.sights = seeker_sees
        self._seen = {
            "hider": seeker_sees.any(1).to(torch.float32),
            "seeker": seeker_sees.any(2).to(torch.float32),
        }
        self._rewards = rewards(seeker_sees, state.step > config.preparation_steps, config)

    def _mirror(self) -> None:
        """Copy the state to VMAS's entities, bypassing VMAS's checks per entity."""
        places, velocities = self.state.agents.unbind(1), self.state.velocity.unbind(1)
        for agent, place, velocity in zip(self.world.agents, places, velocities, strict=True):
            agent.state._pos, agent.state._vel = place, velocity
        things = (*self.walls.unbind(1), *self.state.boxes.unbind(1))
        for landmark, place in zip(self.world.landmarks, things, strict=True):
            landmark.state._pos = place
