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

import torch
from torch import Tensor

from aajr._checks import check_choice
from aajr.hide_and_seek.game.config import HideAndSeekConfig, Team
from aajr.hide_and_seek.game.state import BY_HIDERS, BY_SEEKERS, UNLOCKED, State

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
    state: State, visible: Tensor, ranges: Tensor | None, config: HideAndSeekConfig, team: Team
) -> Tensor:
    """Compute the observations of one team.

    Args:
        state: the game.
        visible: whether each member sees each opponent, ``[envs, team, opponents]``.
        ranges: lidar of the team, ``[envs, team, rays]``, or None.
        config: the game.
        team: the team.

    Returns:
        ``[envs, team, features]``.
    """
    hiders = slice(0, config.n_hiders)
    seekers = slice(config.n_hiders, config.n_agents)
    mine, theirs = (hiders, seekers) if team == "hider" else (seekers, hiders)
    position = state.agents[:, mine]
    parts = [
        _own(state, mine, config, team),
        _boxes(state, position, config, team),
        *([] if ranges is None else [ranges]),
        _teammates(position, config),
        _opponents(position, state.agents[:, theirs], visible, config, team),
    ]
    if config.radio is not None and team == "hider":
        parts.append(_reports(position, state.agents[:, theirs], state.radio_noise))
    return torch.cat(parts, -1)


def _counts(config: HideAndSeekConfig, team: Team) -> tuple[int, int]:
    if team == "hider":
        return config.n_hiders - 1, config.n_seekers
    return config.n_seekers - 1, config.n_hiders


def _limited(count: int, config: HideAndSeekConfig) -> int:
    return min(count, config.observe_nearest) if config.observe_nearest else count


def _own(state: State, mine: slice, config: HideAndSeekConfig, team: Team) -> Tensor:
    position = state.agents[:, mine]
    speed = config.hider_speed if team == "hider" else config.seeker_speed
    agent = torch.arange(config.n_agents, device=position.device)[mine]
    holds = (state.holder.unsqueeze(1) == agent.view(1, -1, 1)).any(-1, keepdim=True)
    left = 1 - state.step / config.max_steps
    preparing = state.step < config.preparation_steps
    clock = torch.stack([left, preparing.to(left)], -1).unsqueeze(1)
    clock = clock.expand(-1, position.shape[1], -1)
    return torch.cat([position, state.velocity[:, mine] / speed, clock, holds.to(left)], -1)


def _boxes(state: State, position: Tensor, config: HideAndSeekConfig, team: Team) -> Tensor:
    relative = state.boxes.unsqueeze(1) - position.unsqueeze(2)
    own = BY_HIDERS if team == "hider" else BY_SEEKERS
    lock = torch.where(state.lock == own, 1.0, -1.0).masked_fill(state.lock == UNLOCKED, 0.0)
    facts = torch.cat([state.box_half, lock.unsqueeze(-1)], -1).unsqueeze(1)
    facts = facts.expand(-1, position.shape[1], -1, -1)
    return _nearest(torch.cat([relative, facts], -1), config)


def _teammates(position: Tensor, config: HideAndSeekConfig) -> Tensor:
    count = position.shape[1]
    member = torch.arange(count, device=position.device)
    others = member[:-1] + (member[:-1] >= member.unsqueeze(1))
    return _nearest(position[:, others] - position.unsqueeze(2), config)


def _opponents(
    position: Tensor, opponents: Tensor, visible: Tensor, config: HideAndSeekConfig, team: Team
) -> Tensor:
    seen = visible.unsqueeze(-1).to(position)
    relative = opponents.unsqueeze(1) - position.unsqueeze(2)
    if config.radio is not None and config.radio.tracked and team == "seeker":
        return _nearest(torch.cat([relative, seen], -1), config)
    return _nearest(torch.cat([relative * seen, seen], -1), config, seen.squeeze(-1))


def _reports(position: Tensor, seekers: Tensor, noise: Tensor) -> Tensor:
    """Reports of all sources, ``[envs, hiders, sources * reported * 2]``."""
    relative = seekers.unsqueeze(1) - position.unsqueeze(2)
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
