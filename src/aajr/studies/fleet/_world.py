"""The world: vehicles that cross one place, each to a goal on the other side, as a VMAS scenario.

A vehicle knows its own position and goal exactly. Where the nearest other vehicle is, it knows only
by the reports of n sources, any k of which may lie.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from aajr._settings import check_count, check_number
from aajr.arena.threats import FARTHEST

try:
    from vmas.simulator.core import Agent, Sphere, World
    from vmas.simulator.dynamics.static import Static
    from vmas.simulator.scenario import BaseScenario
    from vmas.simulator.utils import Color
except ImportError as error:
    raise ImportError("the fleet needs VMAS: pip install 'aajr[rl]'") from error

HEADS = (3, 5)
"""Sizes of the action's heads: speed towards the goal, and sideways."""

TRUSTED = 4
"""Features that no source reports: way to the goal in x and y, time, and whether it arrived."""

_FORWARD = torch.tensor([0.0, 0.5, 1.0])
_SIDEWAYS = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0])


@dataclass(frozen=True)
class FleetConfig:
    """The world's settings; lengths are in half widths of the arena.

    Attributes:
        vehicles: number of vehicles.
        steps: length of an episode.
        speed: greatest way of a vehicle in a step.
        radius: radius of a vehicle; two collide if their centres are nearer than twice as much.
        reach: distance to its goal at which a vehicle has arrived and leaves the arena.
        jitter: greatest deviation of starts and goals from the points of a grid, in x and in y.
        prize: reward of an arrival. A vehicle also earns by how much it comes nearer its goal.
        cost: penalty for every step in which a vehicle collides.
        sources: n, the number of sources that report the nearest other vehicle.
        liars: k, the number of sources that may lie to a vehicle.
        noise: standard deviation of a report in x and in y.
    """

    vehicles: int = 10
    steps: int = 48
    speed: float = 0.06
    radius: float = 0.08
    reach: float = 0.1
    jitter: float = 0.1
    prize: float = 4.0
    cost: float = 1.0
    sources: int = 5
    liars: int = 2
    noise: float = 0.05

    def __post_init__(self) -> None:
        for name in ("steps", "sources", "liars"):
            check_count(name, getattr(self, name))
        check_count("vehicles", self.vehicles, minimum=2)
        for name in ("speed", "radius", "reach"):
            check_number(name, getattr(self, name), exclusive=True)
        for name in ("jitter", "prize", "cost", "noise"):
            check_number(name, getattr(self, name))
        if self.liars >= self.sources:
            raise ValueError(
                f"liars={self.liars} leaves no honest one of sources={self.sources}; lower it"
            )

    @property
    def features(self) -> int:
        """Size of a vehicle's observation."""
        return TRUSTED + 2 * self.sources

    @property
    def reporters(self) -> Tensor:
        """Number of the source that reports each feature, -1 for none, ``[features]``."""
        told = torch.arange(self.sources).repeat_interleave(2)
        return torch.cat([torch.full((TRUSTED,), -1), told])


class _KinematicWorld(World):  # type: ignore[misc]
    """A VMAS world whose step moves all vehicles at once."""

    fleet: Fleet

    def step(self) -> None:
        self.fleet.act(torch.stack([agent.action.u for agent in self.agents], 1))


class Fleet(BaseScenario):  # type: ignore[misc]
    """Vehicles that cross an arena, each from one random place to another.

    All positions are in the vehicle's own frame, whose x axis points from its start to its goal.
    Vehicles pass through each other: a collision costs reward but does not stop them.

    Args:
        config: the settings.

    Attributes:
        position: positions in the arena, ``[envs, vehicles, 2]``.
        goal: goals in the arena, of the same shape.
        ahead: unit vectors from start to goal, of the same shape.
        arrived: vehicles that have reached their goal, boolean ``[envs, vehicles]``.
        colliding: vehicles that collided in the last step, boolean ``[envs, vehicles]``.
        rewards: rewards of the last step, ``[envs, vehicles]``.
        time: number of steps played in each environment, ``[envs, 1]``.

    Example:
        >>> import vmas
        >>> env = vmas.make_env(Fleet(), num_envs=2, max_steps=48, seed=0)
        >>> len(env.reset())
        10
    """

    def __init__(self, config: FleetConfig | None = None) -> None:
        super().__init__()
        self.config = config or FleetConfig()
        self._generator: torch.Generator | None = None

    def make_world(self, batch_dim: int, device: torch.device, **kwargs: Any) -> World:
        """Build the world. Batched tensors hold the state; VMAS's entities mirror it."""
        world = _KinematicWorld(batch_dim, device, x_semidim=2, y_semidim=2)
        world.fleet = self
        for index in range(self.config.vehicles):
            world.add_agent(
                Agent(
                    name=f"vehicle_{index}",
                    shape=Sphere(radius=self.config.radius),
                    color=Color.BLUE,
                    dynamics=Static(),
                    collide=False,
                    action_size=2,
                )
            )
        shape = (batch_dim, self.config.vehicles)
        self.position, self.goal, self.ahead = (torch.zeros(*shape, 2) for _ in range(3))
        self.arrived, self.colliding = (torch.zeros(shape, dtype=torch.bool) for _ in range(2))
        self.rewards, self.time = torch.zeros(shape), torch.zeros(batch_dim, 1)
        return world

    def seed(self, seed: int) -> None:
        """Draw starts and noise from a random stream of this scenario's own."""
        self._generator = torch.Generator().manual_seed(seed)

    def reset_world_at(self, env_index: int | None = None) -> None:
        """Restart all environments, or only the one with the given index."""
        config, chosen = self.config, slice(None) if env_index is None else [env_index]
        count = len(self.time[chosen])
        points = _grid(config.vehicles)
        # the points in random order: vehicle i starts at the i-th and drives to a later one
        order = self._uniform(count, len(points)).argsort(-1)
        goals = order.roll(-(len(points) // 2), -1)
        position, goal = (
            points[places[:, : config.vehicles]]
            + config.jitter * (2 * self._uniform(count, config.vehicles, 2) - 1)
            for places in (order, goals)
        )
        way = goal - position
        self.position[chosen], self.goal[chosen] = position, goal
        self.ahead[chosen] = way / torch.linalg.vector_norm(way, dim=-1, keepdim=True)
        self.arrived[chosen], self.colliding[chosen] = False, False
        self.rewards[chosen], self.time[chosen] = 0.0, 0.0
        self._look()

    @torch.no_grad()
    def act(self, action: Tensor) -> None:
        """Move all vehicles by one step.

        Args:
            action: velocities in each vehicle's own frame as shares of the greatest speed,
                ``[envs, vehicles, 2]``; longer ones than 1 are shortened.
        """
        config, driving = self.config, ~self.arrived
        length = torch.linalg.vector_norm(action, dim=-1, keepdim=True).clamp_min(1.0)
        before = torch.linalg.vector_norm(self.goal - self.position, dim=-1)
        step = config.speed * _turned(action / length, self.ahead)
        self.position = self.position + step * driving.unsqueeze(-1)
        after = torch.linalg.vector_norm(self.goal - self.position, dim=-1)
        self.colliding = (self._distances(driving) < 2 * config.radius).any(-1)
        arrives = driving & (after <= config.reach)
        self.rewards = driving * (
            (before - after) + config.prize * arrives - config.cost * self.colliding.float()
        )
        self.arrived = self.arrived | arrives
        self.time = self.time + 1
        self._look()

    @property
    def observations(self) -> Tensor:
        """Observations of all vehicles, ``[envs, vehicles, features]``.

        The way to the goal in x and y, the share of the time played, whether the vehicle arrived;
        then every source's report of where the nearest driving vehicle is, in x and y.
        """
        return self._observations

    def observation(self, agent: Agent) -> Tensor:
        """The agent's observation, ``[envs, features]``."""
        return self._observations[:, self._index(agent)]

    def reward(self, agent: Agent) -> Tensor:
        """The agent's reward, ``[envs]``."""
        return self.rewards[:, self._index(agent)]

    def info(self, agent: Agent) -> dict[str, Tensor]:
        """``arrived`` and ``colliding`` of the agent, each ``[envs]``."""
        index = self._index(agent)
        return {"arrived": self.arrived[:, index], "colliding": self.colliding[:, index]}

    @staticmethod
    def _index(agent: Agent) -> int:
        return int(agent.name.split("_")[1])

    def nearest(self) -> Tensor:
        """Where the nearest other driving vehicle is, in each vehicle's frame.

        A vehicle without a driving neighbour gets the point ``(FARTHEST, 0)``.

        Returns:
            ``[envs, vehicles, 2]``.
        """
        least, index = self._distances(~self.arrived).min(-1)
        other = self.position.gather(1, index.unsqueeze(-1).expand_as(self.position))
        away = _turned(other - self.position, self.ahead * torch.tensor([1.0, -1.0]))
        alone = torch.tensor([FARTHEST, 0.0]).expand_as(away)
        return torch.where(least.isinf().unsqueeze(-1), alone, away)

    def _look(self) -> None:
        """Compute the observations, with new noise in all reports, and mirror the positions."""
        config = self.config
        way = _turned(self.goal - self.position, self.ahead * torch.tensor([1.0, -1.0]))
        clock = (self.time / config.steps).expand_as(self.rewards)
        own = torch.stack([clock, self.arrived.float()], -1)
        noise = torch.randn(*self.rewards.shape, config.sources, 2, generator=self._generator)
        reports = self.nearest().unsqueeze(-2) + config.noise * noise
        reports = reports.clamp(-FARTHEST, FARTHEST).flatten(-2)
        self._observations = torch.cat([way, own, reports], -1)
        for index, agent in enumerate(self.world.agents):
            agent.state._pos = self.position[:, index]

    def _distances(self, driving: Tensor) -> Tensor:
        """Distances of driving vehicles, infinite for others, ``[envs, vehicles, vehicles]``."""
        apart = torch.cdist(self.position, self.position)
        both = driving.unsqueeze(-1) & driving.unsqueeze(-2)
        oneself = torch.eye(self.config.vehicles, dtype=torch.bool)
        return apart.masked_fill(~both | oneself, math.inf)

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self._generator)


def velocity(action: Tensor) -> Tensor:
    """The velocity ``[..., 2]`` of an action ``[..., heads]``, for :meth:`Fleet.act`.

    Example:
        >>> velocity(torch.tensor([[2, 2], [0, 4]]))
        tensor([[1., 0.],
                [0., 1.]])
    """
    return torch.stack([_FORWARD[action[..., 0]], _SIDEWAYS[action[..., 1]]], -1)


def _grid(vehicles: int) -> Tensor:
    """At least two more points than vehicles, evenly in the arena, ``[points, 2]``."""
    columns = math.ceil(math.sqrt(vehicles + 2))
    rows = math.ceil((vehicles + 2) / columns)
    return torch.cartesian_prod(torch.linspace(-1, 1, columns), torch.linspace(-0.8, 0.8, rows))


def _turned(vector: Tensor, axis: Tensor) -> Tensor:
    """A vector as complex number times the unit vector ``axis``, both ``[..., 2]``."""
    (x, y), (a, b) = vector.unbind(-1), axis.unbind(-1)
    return torch.stack([x * a - y * b, x * b + y * a], -1)
