"""What an agent observes. Lengths are in arena half widths, so all features are near unit scale.

=========== ========================================================================= ==========
part        per item                                                                  trusted
=========== ========================================================================= ==========
own         x, y; last displacement / top speed (2); time left (1 to 0);              yes
            preparation (1 or 0); holds a box (1 or 0)
boxes       relative x, y; half width, half height; lock (+1 own team, -1 other team, yes
            0 unlocked)
lidar       distance along each ray / view radius                                     yes
teammates   relative x, y; always known                                               no
opponents   relative x, y and 1 if visible; zeros if not                              no
reports     relative x, y of the reported seekers, from one source after the other    no
=========== ========================================================================= ==========

Walls do not move, so an agent's own position tells it where they are; they are not listed. Boxes
are observed from anywhere, even behind walls. Opponents that an agent does not see are zeros. Only
hiders with a radio get reports. If the radio has ``tracked=True``, seekers are told where all
hiders are, and only ``visible`` says which ones they see.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from aajr._checks import check_choice
from aajr.hide_and_seek.game.config import HideAndSeekConfig, Team
from aajr.hide_and_seek.game.state import BY_HIDERS, BY_SEEKERS, State

OWN, BOX, MATE, OPPONENT, REPORT = 7, 5, 2, 3, 2


def observation_layout(config: HideAndSeekConfig, team: Team) -> dict[str, slice]:
    """Slices of the parts of a team's observation.

    Args:
        config: the game.
        team: ``"hider"`` or ``"seeker"``.

    Returns:
        Slices by name: own, boxes, lidar, teammates, opponents and, for hiders with a radio,
        reports.
    """
    check_choice("team", team, ("hider", "seeker"))
    mates, others = _counts(config, team)
    sizes = {
        "own": OWN,
        "boxes": BOX * _limited(config.n_boxes, config),
        "lidar": config.lidar_rays,
        "teammates": MATE * _limited(mates, config),
        "opponents": OPPONENT * _limited(others, config),
    }
    if config.radio is not None and team == "hider":
        reported = config.radio.seekers_reported(config.n_seekers)
        sizes["reports"] = REPORT * config.radio.sources * reported
    layout, start = {}, 0
    for name, size in sizes.items():
        layout[name] = slice(start, start + size)
        start += size
    return layout


def observation_size(config: HideAndSeekConfig, team: Team) -> int:
    """Number of features of a team's observation."""
    return max(part.stop for part in observation_layout(config, team).values())


def observe(
    state: State, visible: Mapping[Team, Tensor], ranges: Tensor | None, config: HideAndSeekConfig
) -> dict[Team, Tensor]:
    """Compute the observations of both teams.

    Args:
        state: the game.
        visible: whether each member of a team sees each opponent, ``[envs, team, opponents]``.
        ranges: lidar of all agents, ``[envs, agents, rays]``, or None.
        config: the game.

    Returns:
        ``[envs, team, features]`` for each team.
    """
    alone = [*_own(state, config), _boxes(state, config), *([] if ranges is None else [ranges])]
    sizes = [config.n_hiders, config.n_seekers]
    own = torch.split(torch.cat(alone, -1), sizes, 1)
    hiders, seekers = torch.split(state.agents, sizes, 1)
    hunt = hiders.unsqueeze(1) - seekers.unsqueeze(2)
    threat = seekers.unsqueeze(1) - hiders.unsqueeze(2)
    tracked = config.radio is not None and config.radio.tracked
    hider = [own[0], _teammates(hiders, config), _opponents(threat, visible["hider"], config)]
    if config.radio is not None:
        hider.append(_reports(threat, state.radio_noise))
    sought = _opponents(hunt, visible["seeker"], config, tracked=tracked)
    seeker = [own[1], _teammates(seekers, config), sought]
    return {"hider": torch.cat(hider, -1), "seeker": torch.cat(seeker, -1)}


def _counts(config: HideAndSeekConfig, team: Team) -> tuple[int, int]:
    if team == "hider":
        return config.n_hiders - 1, config.n_seekers
    return config.n_seekers - 1, config.n_hiders


def _limited(count: int, config: HideAndSeekConfig) -> int:
    return min(count, config.observe_nearest) if config.observe_nearest else count


@dataclass(frozen=True, eq=False)
class _Constants:
    """What is the same at every step.

    Attributes:
        number: of every agent, ``[agents, 1]``.
        speed: greatest displacement of every agent, ``[agents, 1]``.
        signs: what every agent observes of a lock 0, 1 or 2, ``[agents, 3]``.
    """

    number: Tensor
    speed: Tensor
    signs: Tensor


@functools.cache
def _constants(config: HideAndSeekConfig, device: torch.device) -> _Constants:
    number = torch.arange(config.n_agents, device=device).unsqueeze(1)
    hider = number < config.n_hiders
    signs = torch.zeros(config.n_agents, 3, device=device)
    signs[:, [BY_HIDERS]] = torch.where(hider, 1.0, -1.0)
    signs[:, [BY_SEEKERS]] = torch.where(hider, -1.0, 1.0)
    return _Constants(number, torch.where(hider, config.hider_speed, config.seeker_speed), signs)


@functools.cache
def _others(count: int, device: torch.device) -> Tensor:
    """Numbers of the other members for each member of a team, ``[count, count - 1]``."""
    member = torch.arange(count, device=device)
    return member[:-1] + (member[:-1] >= member.unsqueeze(1))


def _own(state: State, config: HideAndSeekConfig) -> list[Tensor]:
    agents, known = state.agents, _constants(config, state.agents.device)
    holds = (state.holder.unsqueeze(1) == known.number).any(-1, keepdim=True)
    left = 1 - state.step / config.max_steps
    preparing = state.step < config.preparation_steps
    clock = torch.stack([left, preparing.to(left)], -1).unsqueeze(1)
    clock = clock.expand(-1, agents.shape[1], -1)
    return [agents, state.velocity / known.speed, clock, holds.to(left)]


def _boxes(state: State, config: HideAndSeekConfig) -> Tensor:
    relative = state.boxes.unsqueeze(1) - state.agents.unsqueeze(2)
    half = state.box_half.unsqueeze(1).expand_as(relative)
    signs = _constants(config, state.lock.device).signs
    lock = signs[:, state.lock].transpose(0, 1).unsqueeze(-1)
    return _nearest(torch.cat([relative, half, lock], -1), config)


def _teammates(position: Tensor, config: HideAndSeekConfig) -> Tensor:
    others = _others(position.shape[1], position.device)
    return _nearest(position[:, others] - position.unsqueeze(2), config)


def _opponents(
    relative: Tensor, visible: Tensor, config: HideAndSeekConfig, *, tracked: bool = False
) -> Tensor:
    seen = visible.unsqueeze(-1).to(relative)
    if tracked:
        return _nearest(torch.cat([relative, seen], -1), config)
    return _nearest(torch.cat([relative * seen, seen], -1), config, seen.squeeze(-1))


def _reports(relative: Tensor, noise: Tensor) -> Tensor:
    """Reports of all sources, ``[envs, hiders, sources * reported * 2]``."""
    if noise.shape[3] < relative.shape[2]:
        nearest = relative.square().sum(-1).argmin(-1)[..., None, None]
        relative = relative.gather(2, nearest.expand(-1, -1, 1, 2))
    return (relative.unsqueeze(2) + noise).flatten(2)


def _nearest(items: Tensor, config: HideAndSeekConfig, seen: Tensor | None = None) -> Tensor:
    """Flatten ``[envs, team, items, features]``, keeping the ``observe_nearest`` nearest items."""
    count = _limited(items.shape[2], config)
    if count < items.shape[2]:
        distance = items[..., :2].norm(dim=-1)
        distance = distance if seen is None else distance.masked_fill(seen == 0, torch.inf)
        index = distance.topk(count, largest=False).indices.sort(-1).values
        items = items.gather(2, index.unsqueeze(-1).expand(-1, -1, -1, items.shape[-1]))
    return items.flatten(2)
