"""Rewards and success of a game, computed from who sees whom."""

from __future__ import annotations

import torch
from torch import Tensor

from aajr.hide_and_seek.game.config import HideAndSeekConfig


def rewards(sees: Tensor, playing: Tensor, config: HideAndSeekConfig) -> Tensor:
    """Compute the rewards of all agents, hiders first.

    A hider earns +1 if no seeker sees it and -1 otherwise. A seeker earns +1 if it sees a hider
    and -1 otherwise. An agent's reward mixes its own part with a team part, times the scale. The
    team part is the hiders' mean for hiders, and minus that mean for seekers. All rewards are zero
    in the preparation phase.

    Args:
        sees: seeker s sees hider h, ``[envs, seekers, hiders]``.
        playing: whether the preparation is over, ``[envs]``.
        config: the game.

    Returns:
        ``[envs, agents]``.
    """
    hider = 1.0 - 2.0 * sees.any(1).float()
    seeker = 2.0 * sees.any(2).float() - 1.0
    mean = hider.mean(1, keepdim=True)
    share = config.team_share
    hider = (1 - share) * hider + share * mean
    seeker = (1 - share) * seeker - share * mean
    scale = config.reward_scale * playing.unsqueeze(1).float()
    return scale * torch.cat([hider, seeker], 1)


def hiders_success(seen: Tensor, required: int) -> Tensor:
    """Whether at least ``required`` hiders are unseen; ``seen`` is ``[..., hiders]`` of 0 or 1.

    Example:
        >>> import torch
        >>> hiders_success(torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]]), required=2)
        tensor([ True, False])
    """
    return (seen < 0.5).sum(-1) >= required


def hidden_share(seen: Tensor, config: HideAndSeekConfig) -> Tensor:
    """Share of the hiders that no seeker sees, averaged over the steps after the preparation.

    Args:
        seen: 0 or 1 after every step of whole episodes, ``[..., max_steps, hiders]``.
        config: the game.

    Returns:
        ``[...]``, in [0, 1].

    Raises:
        ValueError: ``seen`` does not hold whole episodes, or the game is all preparation.

    Example:
        >>> import torch
        >>> game = HideAndSeekConfig(n_hiders=2, max_steps=4, preparation_fraction=0.5)
        >>> hidden_share(torch.tensor([[1.0, 1.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0]]), game)
        tensor(0.7500)
    """
    expected = (config.max_steps, config.n_hiders)
    if tuple(seen.shape[-2:]) != expected:
        raise ValueError(
            f"seen has shape {tuple(seen.shape)}; give whole episodes, [..., {expected[0]}, "
            f"{expected[1]}]"
        )
    if config.preparation_steps == config.max_steps:
        raise ValueError(
            f"preparation_fraction={config.preparation_fraction} leaves no step to play; lower it"
        )
    return (seen[..., config.preparation_steps :, :] < 0.5).float().mean((-2, -1))
