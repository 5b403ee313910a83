"""The batched state of many games, and the initial state."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from aajr.hide_and_seek.game.config import HideAndSeekConfig

FREE = -1
UNLOCKED, BY_HIDERS, BY_SEEKERS = 0, 1, 2


@dataclass(eq=False)
class State:
    """The state of many games: one row per environment, hiders before seekers.

    Attributes:
        agents: positions, ``[envs, agents, 2]``.
        velocity: last displacement, ``[envs, agents, 2]``.
        heading: unit vector of the last motion, ``[envs, agents, 2]``.
        boxes: centres of the boxes, ``[envs, boxes, 2]``.
        box_half: half sizes of the boxes, ``[envs, boxes, 2]``.
        holder: index of the agent that holds a box, or -1, ``[envs, boxes]``.
        lock: 0 unlocked, 1 locked by hiders, 2 by seekers, ``[envs, boxes]``.
        step: number of steps played, ``[envs]``.
        radio_noise: noise of the hiders' current reports, ``[envs, hiders, sources, seekers
            reported, 2]``; without a radio the size of ``sources`` is 0.
    """

    agents: Tensor
    velocity: Tensor
    heading: Tensor
    boxes: Tensor
    box_half: Tensor
    holder: Tensor
    lock: Tensor
    step: Tensor
    radio_noise: Tensor

    def replace_row(self, row: int, other: State) -> None:
        """Overwrite a row with the first row of ``other``."""
        for item in fields(self):
            value = getattr(self, item.name).clone()
            value[row] = getattr(other, item.name)[0]
            setattr(self, item.name, value)


def wall_tensors(config: HideAndSeekConfig, device: torch.device) -> tuple[Tensor, Tensor]:
    """Centres and half sizes of the walls, both ``[walls, 2]``."""
    walls = torch.tensor(config.walls, device=device, dtype=torch.float32).reshape(-1, 4)
    return walls[:, :2], walls[:, 2:]


def overlaps(a: Tensor, a_half: Tensor, b: Tensor, b_half: Tensor) -> Tensor:
    """Whether rectangles overlap, ``[envs, A, B]``; a point is a rectangle of half size 0."""
    close = [
        (p.unsqueeze(1) - q).abs() < p_half.unsqueeze(1) + q_half
        for p, p_half, q, q_half in zip(*map(_planes, (a, a_half, b, b_half)), strict=True)
    ]
    return (close[0] & close[1]).permute(2, 0, 1)


def _planes(points: Tensor) -> tuple[Tensor, ...]:
    """x and y with environments as the last axis, the fastest order for broadcasting."""
    return points.permute(2, 1, 0).contiguous().unbind()


def initial_state(
    config: HideAndSeekConfig, envs: int, generator: torch.Generator, device: torch.device
) -> State:
    """Place boxes, then agents, uniformly in the free space; a box without room gets size 0."""
    centre, half = wall_tensors(config, device)
    walls = centre.expand(envs, -1, -1), half.expand(envs, -1, -1)
    boxes, box_half = _place_boxes(config, envs, generator, *walls)
    blocks = torch.cat([walls[0], boxes], 1), torch.cat([walls[1], box_half], 1)
    agents = _place_agents(config, envs, generator, *blocks)
    zeros = torch.zeros_like(agents)
    heading = zeros.clone()
    heading[..., 0] = 1.0
    no_box = torch.zeros(envs, config.n_boxes, dtype=torch.long, device=device)
    step = torch.zeros(envs, dtype=torch.long, device=device)
    radio_noise = draw_radio_noise(config, envs, generator, device)
    free, unlocked = no_box + FREE, no_box
    return State(agents, zeros, heading, boxes, box_half, free, unlocked, step, radio_noise)


def draw_radio_noise(
    config: HideAndSeekConfig, envs: int, generator: torch.Generator, device: torch.device
) -> Tensor:
    """Draw the noise of one step's reports, ``[envs, hiders, sources, seekers reported, 2]``."""
    radio = config.radio
    if radio is None:
        return torch.zeros(envs, config.n_hiders, 0, 1, 2, device=device)
    shape = (envs, config.n_hiders, radio.sources, radio.seekers_reported(config.n_seekers), 2)
    draw = torch.randn(shape, generator=generator, device=device)
    return draw * torch.tensor(radio.deviations, device=device).view(-1, 1, 1)


def _uniform(shape: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Tensor:
    return torch.rand(shape, generator=generator, device=like.device, dtype=torch.float32)


def _place_boxes(
    config: HideAndSeekConfig, envs: int, generator: torch.Generator, walls: Tensor, half: Tensor
) -> tuple[Tensor, Tensor]:
    least, greatest = config.box_half_size
    boxes, sizes = walls[:, :0].clone(), half[:, :0].clone()
    for _ in range(config.n_boxes):
        size = least + (greatest - least) * _uniform((envs, 1, 2), generator, walls)
        blocks = torch.cat([walls, boxes], 1), torch.cat([half, sizes], 1)
        place, free = _try_places(envs, size, generator, *blocks, margin=2 * config.agent_radius)
        # a box without room gets size 0 in a corner, where it blocks nothing
        corner = torch.ones_like(place)
        boxes = torch.cat([boxes, torch.where(free, place, corner)], 1)
        sizes = torch.cat([sizes, torch.where(free, size, torch.zeros_like(size))], 1)
    return boxes, sizes


def _try_places(
    envs: int,
    size: Tensor,
    generator: torch.Generator,
    centre: Tensor,
    half: Tensor,
    margin: float,
    tries: int = 24,
) -> tuple[Tensor, Tensor]:
    places = (2 * _uniform((envs, tries, 2), generator, centre) - 1) * (1 - size)
    grown = (size + margin).expand(-1, tries, -1)
    free = ~overlaps(places, grown, centre, half).any(-1)
    first = free.float().argmax(1)
    place = places.gather(1, first[:, None, None].expand(-1, 1, 2))
    return place, free.any(1)[:, None, None]


def _place_agents(
    config: HideAndSeekConfig, envs: int, generator: torch.Generator, centre: Tensor, half: Tensor
) -> Tensor:
    count, tries = config.n_agents, 24
    size = torch.full((envs, 1, 2), config.agent_radius, device=centre.device)
    limit = 1 - config.agent_radius
    places = (2 * _uniform((envs, count * tries, 2), generator, centre) - 1) * limit
    free = ~overlaps(places, size.expand(-1, count * tries, -1), centre, half).any(-1)
    free = free.reshape(envs, count, tries)
    chosen = free.float().argmax(2)
    places = places.reshape(envs, count, tries, 2)
    agents = places.gather(2, chosen[:, :, None, None].expand(-1, -1, 1, 2)).squeeze(2)
    # an agent without room is put on the first agent that has room; agents may overlap
    placed = free.any(2)
    fallback = agents.gather(1, placed.float().argmax(1)[:, None, None].expand(-1, 1, 2))
    return torch.where(placed.unsqueeze(-1), agents, fallback)
