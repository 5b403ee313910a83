"""Kinematics: moving agents, grabbing and locking boxes. Pure functions of the state."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from aajr.hide_and_seek.game.config import HideAndSeekConfig
from aajr.hide_and_seek.game.state import BY_HIDERS, BY_SEEKERS, FREE, UNLOCKED, State, overlaps


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
    active = _active(state, config)
    gaps = _reachable(state, config)
    state = _grab(state, grab & active, gaps, config)
    state = _lock(state, lock & active, gaps, config)
    wanted = _displacement(velocity, config) * active.unsqueeze(-1)
    moved = _slide(state, wanted, walls, wall_half, config)
    boxes, agents = _carry(state, moved, walls, wall_half, config)
    step = agents - state.agents
    length = step.norm(dim=-1, keepdim=True)
    heading = torch.where(length > 1e-9, step / length.clamp_min(1e-9), state.heading)
    return replace(
        state, agents=agents, boxes=boxes, velocity=step, heading=heading, step=state.step + 1
    )


def _active(state: State, config: HideAndSeekConfig) -> Tensor:
    playing = state.step >= config.preparation_steps
    hider = torch.arange(config.n_agents, device=state.step.device) < config.n_hiders
    return playing.unsqueeze(1) | hider


def _displacement(velocity: Tensor, config: HideAndSeekConfig) -> Tensor:
    hider = torch.arange(config.n_agents, device=velocity.device) < config.n_hiders
    speed = torch.where(hider, config.hider_speed, config.seeker_speed).unsqueeze(-1)
    return velocity / velocity.norm(dim=-1, keepdim=True).clamp_min(1.0) * speed


def _team(config: HideAndSeekConfig, device: torch.device) -> Tensor:
    hider = torch.arange(config.n_agents, device=device) < config.n_hiders
    return torch.where(hider, BY_HIDERS, BY_SEEKERS)


def _reachable(state: State, config: HideAndSeekConfig) -> Tensor:
    """Distances from agents to boxes, inf if out of reach, ``[envs, agents, boxes]``."""
    squares = [
        ((agent.unsqueeze(2) - box.unsqueeze(1)).abs() - half.unsqueeze(1)).clamp_min(0).square()
        for agent, box, half in zip(
            *(item.unbind(-1) for item in (state.agents, state.boxes, state.box_half)), strict=True
        )
    ]
    distance = (squares[0] + squares[1]).sqrt()
    exists = (state.box_half > 0).all(-1).unsqueeze(1)
    within = exists & (distance <= config.reach + config.agent_radius * 2**0.5)
    return distance.masked_fill(~within, torch.inf)


def _nearest(gaps: Tensor, allowed: Tensor) -> Tensor:
    """Each agent's nearest allowed box within reach, one-hot ``[envs, agents, boxes]``."""
    gaps = gaps.masked_fill(~allowed, torch.inf)
    return (gaps == gaps.amin(-1, keepdim=True)) & (gaps < torch.inf)


def _first(wants: Tensor) -> tuple[Tensor, Tensor]:
    """For each box, the lowest-numbered agent that wants it, and whether any agent does."""
    count = wants.shape[1]
    # int32, because torch vectorises its minimum but not that of int64
    agent = torch.arange(count, dtype=torch.int32, device=wants.device).view(1, -1, 1)
    first = torch.where(wants, agent, count).amin(1).long()
    return first, first < count


def _grab(state: State, grab: Tensor, gaps: Tensor, config: HideAndSeekConfig) -> State:
    if config.n_boxes == 0:
        return state
    agent = torch.arange(config.n_agents, device=grab.device)
    held = state.holder.unsqueeze(1) == agent.view(1, -1, 1)
    keeps = held & grab.unsqueeze(-1)
    holder = torch.where(keeps.any(1), state.holder, FREE)
    team = _team(config, grab.device).view(1, -1, 1)
    lock = state.lock.unsqueeze(1)
    free = (holder == FREE).unsqueeze(1) & ((lock == UNLOCKED) | (lock == team))
    idle = (grab & ~keeps.any(2)).unsqueeze(-1)
    wants = _nearest(gaps, free & idle)
    taker, taken = _first(wants)
    # an agent takes only one box
    first = torch.where(taken, taker, FREE)
    repeated = torch.tril(first.unsqueeze(2) == first.unsqueeze(1), diagonal=-1).any(2)
    taken = taken & ~repeated
    return replace(
        state,
        holder=torch.where(taken, taker, holder),
        lock=torch.where(taken, UNLOCKED, state.lock),
    )


def _lock(state: State, lock: Tensor, gaps: Tensor, config: HideAndSeekConfig) -> State:
    if config.n_boxes == 0:
        return state
    agent = torch.arange(config.n_agents, device=lock.device).view(1, -1, 1)
    holder = state.holder.unsqueeze(1)
    allowed = ((holder == FREE) | (holder == agent)) & (state.lock == UNLOCKED).unsqueeze(1)
    wants = _nearest(gaps, allowed & lock.unsqueeze(-1))
    first, locked = _first(wants)
    by = torch.where(first < config.n_hiders, BY_HIDERS, BY_SEEKERS)
    return replace(
        state,
        lock=torch.where(locked, by, state.lock),
        holder=torch.where(locked, FREE, state.holder),
    )


def _slide(
    state: State, wanted: Tensor, walls: Tensor, wall_half: Tensor, config: HideAndSeekConfig
) -> Tensor:
    centre = torch.cat([walls, state.boxes], 1)
    half = torch.cat([wall_half, state.box_half], 1)
    size = torch.full_like(state.agents, config.agent_radius)
    agent = torch.arange(config.n_agents, device=wanted.device)
    own = state.holder.unsqueeze(1) == agent.view(1, -1, 1)
    own = torch.cat([own.new_zeros(*own.shape[:2], walls.shape[1]), own], 2)
    position = state.agents
    for axis in (0, 1):
        candidate = position.clone()
        candidate[..., axis] += wanted[..., axis]
        inside = candidate.abs().amax(-1) <= 1 - config.agent_radius
        blocked = (overlaps(candidate, size, centre, half) & ~own).any(-1)
        position = torch.where((inside & ~blocked).unsqueeze(-1), candidate, position)
    return position


def _carry(
    state: State, moved: Tensor, walls: Tensor, wall_half: Tensor, config: HideAndSeekConfig
) -> tuple[Tensor, Tensor]:
    """Positions of boxes and agents after each held box followed its holder or stopped it."""
    if config.n_boxes == 0:
        return state.boxes, moved
    held = state.holder != FREE
    index = state.holder.clamp_min(0).unsqueeze(-1).expand(-1, -1, 2)
    shift = (moved - state.agents).gather(1, index) * held.unsqueeze(-1)
    target = state.boxes + shift
    refused = held & _obstructed(state, target, moved, walls, wall_half, config)
    boxes = torch.where(refused.unsqueeze(-1), state.boxes, target)
    agent = torch.arange(config.n_agents, device=moved.device).view(1, -1, 1)
    stopped = ((state.holder.unsqueeze(1) == agent) & refused.unsqueeze(1)).any(2)
    return boxes, torch.where(stopped.unsqueeze(-1), state.agents, moved)


def _obstructed(
    state: State,
    target: Tensor,
    moved: Tensor,
    walls: Tensor,
    wall_half: Tensor,
    config: HideAndSeekConfig,
) -> Tensor:
    # Compare with both the old and the new places of all other things. The box then overlaps none
    # of them, whichever of their moves are refused.
    half, agents = state.box_half, torch.arange(config.n_agents, device=target.device)
    size = torch.full_like(moved, config.agent_radius)
    places = torch.cat([walls, state.boxes, target, state.agents, moved], 1)
    sizes = torch.cat([wall_half, half, half, size, size], 1)
    itself = torch.eye(config.n_boxes, dtype=torch.bool, device=target.device)
    itself = itself.expand(target.shape[0], -1, -1)
    mine = state.holder.unsqueeze(2) == agents
    nothing = itself.new_zeros(*itself.shape[:2], walls.shape[1])
    exempt = torch.cat([nothing, itself, itself, mine, mine], 2)
    outside = (target.abs() + half > 1).any(-1)
    return outside | (overlaps(target, half, places, sizes) & ~exempt).any(-1)
