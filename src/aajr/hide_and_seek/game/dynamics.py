"""Kinematics: moving agents, grabbing and locking boxes. Pure functions of the state.

Inside this module environments are the last axis, the fastest order for broadcasting: coordinates
are ``[2, items, envs]`` and masks ``[items, envs]`` or ``[items, others, envs]``.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from aajr.hide_and_seek.game.config import HideAndSeekConfig
from aajr.hide_and_seek.game.state import BY_HIDERS, BY_SEEKERS, FREE, UNLOCKED, State


def advance(
    state: State,
    velocity: Tensor,
    grab: Tensor,
    lock: Tensor,
    walls: Tensor,
    wall_half: Tensor,
    config: HideAndSeekConfig,
) -> State:
    """Advance every game by one step.

    A move that would bring an agent into a wall, a box or out of the arena is refused, in x and y
    separately, so that agents slide along obstacles. A held box moves with its holder. If the box
    cannot move, the holder does not move either. An agent that grabs a box which its own team
    locked unlocks it.

    Args:
        state: state before the step.
        velocity: wanted velocity in [-1, 1], ``[envs, agents, 2]``; it is scaled to the team's
            speed.
        grab: agents that want to hold a box, ``[envs, agents]``, boolean.
        lock: agents that want to lock a box, ``[envs, agents]``, boolean.
        walls: centres of the walls, ``[envs, walls, 2]``.
        wall_half: half sizes of the walls, ``[envs, walls, 2]``.
        config: the game.
    """
    crew = _crew(config, state.step.device)
    agents, boxes, half, walls, wall_half = (
        item.permute(2, 1, 0)
        for item in (state.agents, state.boxes, state.box_half, walls, wall_half)
    )
    active = crew.hider | (state.step >= config.preparation_steps)
    holder, locks = state.holder.T, state.lock.T
    if config.n_boxes:
        gaps = _reachable(agents, boxes, half, config)
        holder, locks = _grab(holder, locks, grab.T & active, gaps, crew)
        holder, locks = _lock(holder, locks, lock.T & active, gaps, crew)
    held = crew.number.unsqueeze(2) == holder
    wanted = velocity / velocity.norm(dim=-1, keepdim=True).clamp_min(1.0)
    wanted = wanted.permute(2, 1, 0) * crew.speed * active
    centre, size = torch.cat([walls, boxes], 1), torch.cat([wall_half, half], 1)
    moved = _slide(agents, wanted, centre, size, held, config.agent_radius)
    if config.n_boxes:
        followed = _follow(agents, moved, boxes, holder)
        stuck = _obstructed(followed, agents, moved, centre, size, held, crew)
        refused = stuck & (holder != FREE)
        boxes = torch.where(refused, boxes, followed)
        moved = torch.where((held & refused).any(1), agents, moved)
    step = (moved - agents).permute(2, 1, 0).contiguous()
    length = step.norm(dim=-1, keepdim=True)
    heading = torch.where(length > 1e-9, step / length.clamp_min(1e-9), state.heading)
    return replace(
        state,
        agents=moved.permute(2, 1, 0),
        boxes=boxes.permute(2, 1, 0),
        velocity=step,
        heading=heading,
        holder=holder.T,
        lock=locks.T,
        step=state.step + 1,
    )


@dataclass(frozen=True, eq=False)
class _Crew:
    """What is the same at every step.

    Attributes:
        number: of every agent, ``[agents, 1]``.
        hider: whether the agent is a hider, of the same shape.
        speed: greatest displacement of the agent, of the same shape.
        team: the lock of the agent's team, of the same shape.
        radius: half sizes of the agents in collisions, ``[2, agents, 1]``.
        rival: the lock of the agent's opponents, ``[agents, 1, 1]``.
        earlier: whether the second box has a lower number than the first, ``[boxes, boxes, 1]``.
        itself: which of all walls, boxes and again boxes is this box,
            ``[boxes, walls + 2 boxes, 1]``.
    """

    number: Tensor
    hider: Tensor
    speed: Tensor
    team: Tensor
    radius: Tensor
    rival: Tensor
    earlier: Tensor
    itself: Tensor


@functools.cache
def _crew(config: HideAndSeekConfig, device: torch.device) -> _Crew:
    number = torch.arange(config.n_agents, device=device).unsqueeze(1)
    hider = number < config.n_hiders
    box = torch.arange(config.n_boxes, device=device)
    same = box.unsqueeze(1) == box
    return _Crew(
        number=number,
        hider=hider,
        speed=torch.where(hider, config.hider_speed, config.seeker_speed),
        team=torch.where(hider, BY_HIDERS, BY_SEEKERS),
        radius=torch.full((2, config.n_agents, 1), config.agent_radius, device=device),
        rival=torch.where(hider, BY_SEEKERS, BY_HIDERS).unsqueeze(2),
        earlier=(box < box.unsqueeze(1)).unsqueeze(2),
        itself=torch.cat([same.new_zeros(len(box), len(config.walls)), same, same], 1).unsqueeze(2),
    )


def _reachable(agents: Tensor, boxes: Tensor, half: Tensor, config: HideAndSeekConfig) -> Tensor:
    """Distances from agents to boxes, inf if out of reach, ``[agents, boxes, envs]``."""
    gap = (agents.unsqueeze(2) - boxes.unsqueeze(1)).abs() - half.unsqueeze(1)
    distance = gap.clamp_min(0).square().sum(0).sqrt()
    absent = (half <= 0).any(0)
    far = distance > config.reach + config.agent_radius * 2**0.5
    return distance.masked_fill(far | absent, torch.inf)


def _first(gaps: Tensor, allowed: Tensor, number: Tensor) -> tuple[Tensor, Tensor]:
    """For each box, the first agent whose nearest allowed box it is, and whether there is one."""
    gaps = gaps.masked_fill(~allowed, torch.inf)
    wants = (gaps == gaps.amin(1, keepdim=True)) & (gaps < torch.inf)
    nobody = len(number)
    first = number.unsqueeze(2).expand_as(wants).masked_fill(~wants, nobody).amin(0)
    return first, first < nobody


def _grab(
    holder: Tensor, locks: Tensor, grab: Tensor, gaps: Tensor, crew: _Crew
) -> tuple[Tensor, Tensor]:
    """Holders and locks after agents let go of their boxes, kept them or took one."""
    keeps = (crew.number.unsqueeze(2) == holder) & grab.unsqueeze(1)
    kept = keeps.any(0)
    idle = grab & ~keeps.any(1)
    free = ~kept & (locks != crew.rival)
    taker, taken = _first(gaps, free & idle.unsqueeze(1), crew.number)
    # an agent takes only one box
    repeated = (taker.unsqueeze(1) == taker) & crew.earlier
    taken = taken & ~repeated.any(1)
    holder = torch.where(taken, taker, holder.masked_fill(~kept, FREE))
    return holder, locks.masked_fill(taken, UNLOCKED)


def _lock(
    holder: Tensor, locks: Tensor, lock: Tensor, gaps: Tensor, crew: _Crew
) -> tuple[Tensor, Tensor]:
    """Holders and locks after agents locked boxes that are free or their own."""
    within = (holder == FREE) | (crew.number.unsqueeze(2) == holder)
    allowed = within & (locks == UNLOCKED) & lock.unsqueeze(1)
    first, locked = _first(gaps, allowed, crew.number)
    by = crew.team[first.clamp_max(len(crew.number) - 1), 0]
    return holder.masked_fill(locked, FREE), torch.where(locked, by, locks)


def _slide(
    agents: Tensor, wanted: Tensor, centre: Tensor, size: Tensor, held: Tensor, radius: float
) -> Tensor:
    """Positions after moves in x and then in y, each refused if it would hit something."""
    places = torch.stack([agents, agents + wanted])
    close = (places.unsqueeze(3) - centre.unsqueeze(1)).abs() < (size + radius).unsqueeze(1)
    inside = places.abs() <= 1 - radius
    (near_x, near_y), (nears_x, nears_y) = (item.unbind() for item in close.unbind())
    (in_x, in_y), (enters_x, enters_y) = (item.unbind() for item in inside.unbind())
    # a box does not hinder its holder
    hinders = torch.nn.functional.pad(~held, (0, 0, centre.shape[1] - held.shape[1], 0), value=True)
    moves_x = enters_x & in_y & ~(nears_x & near_y & hinders).any(1)
    near_x = torch.where(moves_x.unsqueeze(1), nears_x, near_x)
    in_x = torch.where(moves_x, enters_x, in_x)
    moves_y = in_x & enters_y & ~(near_x & nears_y & hinders).any(1)
    stays, goes = places.unbind()
    return torch.where(torch.stack([moves_x, moves_y]), goes, stays)


def _follow(agents: Tensor, moved: Tensor, boxes: Tensor, holder: Tensor) -> Tensor:
    """Places of the boxes if each held one moved with its holder."""
    index = holder.clamp_min(0).expand(2, -1, -1)
    return boxes + (moved - agents).gather(1, index) * (holder != FREE)


def _obstructed(
    target: Tensor,
    agents: Tensor,
    moved: Tensor,
    centre: Tensor,
    size: Tensor,
    held: Tensor,
    crew: _Crew,
) -> Tensor:
    """Boxes whose new place is taken or outside, ``[boxes, envs]``."""
    # Compare with both the old and the new places of all other things. The box then overlaps none
    # of them, whichever of their moves are refused.
    half = size[:, centre.shape[1] - target.shape[1] :]
    radius = crew.radius.expand_as(agents)
    places = torch.cat([centre, target, agents, moved], 1)
    sizes = torch.cat([size, half, radius, radius], 1)
    close = (target.unsqueeze(2) - places.unsqueeze(1)).abs() < half.unsqueeze(2) + sizes.unsqueeze(
        1
    )
    mine, itself = held.transpose(0, 1), crew.itself.expand(-1, -1, held.shape[2])
    exempt = torch.cat([itself, mine, mine], 1)
    near_x, near_y = close.unbind()
    outside = (target.abs() + half > 1).any(0)
    return outside | (near_x & near_y & ~exempt).any(1)
