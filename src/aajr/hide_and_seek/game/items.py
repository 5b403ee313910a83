"""Groups of features in an observation that are dropped, frozen or forged together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from aajr.hide_and_seek.game import HideAndSeekConfig, Team, observation_layout
from aajr.hide_and_seek.game.observation import MATE, OPPONENT, observation_size


def observed_items(config: HideAndSeekConfig, team: Team) -> Tensor:
    """Group number of each feature: one group per observed teammate or opponent, else -1.

    :class:`aajr.geometry.Dropped`, ``Frozen``, ``Delayed`` and ``Sparse`` use these groups.

    Args:
        config: the game.
        team: team whose observation is meant.

    Returns:
        Group numbers, ``[features]``; -1 for features outside all groups.

    Example:
        >>> from aajr.hide_and_seek.game import HideAndSeekConfig
        >>> observed_items(HideAndSeekConfig(n_hiders=3, n_seekers=1), "hider")[-7:]
        tensor([0, 0, 1, 1, 2, 2, 2])
    """
    layout = observation_layout(config, team)
    groups = torch.full((observation_size(config, team),), -1)
    count = 0
    for name, size in (("teammates", MATE), ("opponents", OPPONENT)):
        for start in range(layout[name].start, layout[name].stop, size):
            groups[start : start + size] = count
            count += 1
    return groups


def reporting_sources(config: HideAndSeekConfig) -> Tensor:
    """Number of the radio source that reports each feature to a hider; -1 for other features.

    Args:
        config: the game, with a radio.

    Returns:
        Source numbers, ``[features]``.

    Raises:
        ValueError: the game has no radio.

    Example:
        >>> from aajr.hide_and_seek.game import HideAndSeekConfig, Radio
        >>> reporting_sources(HideAndSeekConfig(radio=Radio(sources=3, liars=1)))[-7:]
        tensor([-1,  0,  0,  1,  1,  2,  2])
    """
    if config.radio is None:
        raise ValueError("radio=None has no sources; give the game a Radio")
    sources = torch.full((observation_size(config, "hider"),), -1)
    part = observation_layout(config, "hider")["reports"]
    each = (part.stop - part.start) // config.radio.sources
    sources[part] = torch.arange(config.radio.sources).repeat_interleave(each)
    return sources


def lying_teammates(config: HideAndSeekConfig, team: Team, liars: Sequence[int]) -> Tensor:
    """Mask of the features that a coalition of lying teammates can forge in each observation.

    Teammates tell each other where they are. Use the result as the mask of a ball over joint
    observations ``[batch, agents, features]``: the adversary then changes only what liars tell
    honest agents. Give the ball ``low=-2`` and ``high=2`` to keep every claim within the greatest
    distance in the arena. For rows of single agents, ``[batch * agents, features]``, repeat the
    mask ``batch`` times. Liars do not lie to each other.

    Args:
        config: the game; all teammates must be observed, so that each has features of its own.
        team: team whose observation is meant.
        liars: indices of the lying agents within the team.

    Returns:
        Boolean ``[agents, features]``.

    Raises:
        ValueError: there are no liars or no honest agents, an index is out of range, or
            ``observe_nearest`` > 0, with which no feature belongs to one fixed teammate.

    Example:
        >>> from aajr.hide_and_seek.game import HideAndSeekConfig
        >>> told = lying_teammates(HideAndSeekConfig(n_hiders=3, n_seekers=1), "hider", [2])
        >>> told[:, -7:].int()
        tensor([[0, 0, 1, 1, 0, 0, 0],
                [0, 0, 1, 1, 0, 0, 0],
                [0, 0, 0, 0, 0, 0, 0]], dtype=torch.int32)
    """
    agents = config.n_hiders if team == "hider" else config.n_seekers
    names = set(liars)
    _check_liars(config, names, agents)
    layout = observation_layout(config, team)
    mask = torch.zeros(agents, observation_size(config, team), dtype=torch.bool)
    for receiver in set(range(agents)) - names:
        for liar in names:
            place = liar - (liar > receiver)
            start = layout["teammates"].start + MATE * place
            mask[receiver, start : start + MATE] = True
    return mask


def _check_liars(config: HideAndSeekConfig, liars: set[int], agents: int) -> None:
    if not liars or liars - set(range(agents)) or len(liars) == agents:
        raise ValueError(
            f"liars={sorted(liars)} is not allowed; name some, not all, of the agents 0 to "
            f"{agents - 1}"
        )
    if 0 < config.observe_nearest < agents - 1:
        raise ValueError(
            f"observe_nearest={config.observe_nearest} gives no teammate a place of its own; use 0"
        )
