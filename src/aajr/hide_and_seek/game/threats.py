"""Threat models: what the adversary may change. Every result names its threat and the unit of ε.

``full``
    Every feature of the observation.
``others``
    Only the features about other agents: positions and visibility of teammates and opponents, and
    radio reports. The agent's own state and the boxes are trusted.
``reports``
    Only the reports of a hider's radio, any k of the n sources at a time. The hider's own sight is
    trusted. The lying sources may differ between hiders and between steps.
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
    """Mask of the features of a team's observation that the adversary may change.

    Args:
        config: the game.
        team: team whose observation is meant.
        threat: the threat model. No feature is attackable under ``actions``, nor under ``reports``
            in a game without a radio.

    Returns:
        Boolean ``[features]``.

    Example:
        >>> from aajr.hide_and_seek.game import HideAndSeekConfig
        >>> int(attackable_features(HideAndSeekConfig(), "hider", "others").sum())
        23
    """
    import torch  # imported here, so that the command line can list the threats without torch

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
    """The L∞ ball of a threat to hiders.

    Under ``reports`` it covers the reports of all sources and keeps them within the arena.
    """
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
    """Restrict a search in :func:`threat_ball` to the threat.

    Under ``reports`` only k sources at a time may lie; other threats return ``search`` unchanged.
    """
    from aajr.adversaries import LyingSources
    from aajr.hide_and_seek.game.items import reporting_sources

    if threat != "reports" or config.radio is None:
        return search
    return LyingSources(search, reporting_sources(config), config.radio.liars, who)
