"""Threat models: what the adversary may touch. Every figure names its threat and ε's unit.

``full``
    Every feature of the observation.
``others``
    Only what an agent is told or perceives of other agents: teammates' and opponents' positions
    and visibility. Its own state and the map with its boxes are trusted.
``reports``
    What the sources of a hider's radio report, any k of the n of them at a time; its own sight is
    trusted. Which ones lie may differ between hiders and from step to step.
``actions``
    The observation is trusted; the adversary shifts the logits of the action.

ε is an L∞ radius: for observations in observation units (the arena's half width is 1), for
actions in logits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aajr._settings import check_choice
from aajr.arena.threats import FARTHEST, THREATS, Threat
from aajr.hide_and_seek.game import HideAndSeekConfig, Team

if TYPE_CHECKING:
    from torch import Tensor

    from aajr.adversaries import Adversary, Who
    from aajr.geometry import Ball


def attackable_features(config: HideAndSeekConfig, team: Team, threat: Threat) -> Tensor:
    """Which features of a team's observation the adversary may change.

    Args:
        config: the game.
        team: whose observation.
        threat: the threat model; under ``actions`` no feature is attackable, nor is any under
            ``reports`` without a radio.

    Returns:
        Boolean ``[features]``.

    Example:
        >>> from aajr.hide_and_seek.game import HideAndSeekConfig
        >>> int(attackable_features(HideAndSeekConfig(), "hider", "others").sum())
        23
    """
    import torch  # here, so that the command line knows the threats without it

    from aajr.hide_and_seek.game import observation_layout

    check_choice("threat", threat, tuple(THREATS))
    layout = observation_layout(config, team)
    mask = torch.zeros(max(part.stop for part in layout.values()), dtype=torch.bool)
    reached = {
        "full": tuple(layout),
        "others": ("teammates", "opponents", "reports"),
        "reports": ("reports",),
        "actions": (),
    }
    for name in set(reached[threat]) & set(layout):
        mask[layout[name]] = True
    return mask


def threat_ball(config: HideAndSeekConfig, threat: Threat, epsilon: float) -> Ball:
    """The L∞ ball of a hider's threat; of reports, all of them, with claims within the arena."""
    from aajr.geometry import Ball

    if threat == "actions":
        return Ball("linf", epsilon)
    mask = attackable_features(config, "hider", threat)
    if threat == "reports":
        return Ball("linf", epsilon, mask=mask, low=-FARTHEST, high=FARTHEST)
    return Ball("linf", epsilon, mask=mask)


def under_threat(
    search: Adversary, config: HideAndSeekConfig, threat: Threat, who: Who = "random"
) -> Adversary:
    """A search in :func:`threat_ball`; of reports, among those of the k sources that lie."""
    from aajr.adversaries import LyingSources
    from aajr.hide_and_seek.game.items import reporting_sources

    if threat != "reports" or config.radio is None:
        return search
    return LyingSources(search, reporting_sources(config), config.radio.liars, who)
