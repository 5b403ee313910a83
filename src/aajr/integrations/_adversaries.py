"""Balls fitted to a host's observations, and action masks."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from aajr.adversaries import with_ball
from aajr.geometry import Ball
from aajr.minimax import Minimax
from aajr.penalties import Frobenius, RandomDirection, Spectral


def one_budget(ball: Ball, dims: int) -> Ball:
    """The ball with one budget per observation of ``dims`` dimensions, if it sets no other."""
    return ball if ball.event_dims is not None or dims < 2 else replace(ball, event_dims=dims)


def join_mask(x: Tensor, mask: Tensor) -> Tensor:
    """Observations with the action mask appended as features, so that each row keeps its mask."""
    return torch.cat([x, mask.to(x)], -1)


def split_mask(x: Tensor, actions: int) -> tuple[Tensor, Tensor]:
    """Observations and the boolean action mask, which :func:`join_mask` joined."""
    return x[..., :-actions], x[..., -actions:] > 0.5


def only_allowed(logits: Tensor, mask: Tensor) -> Tensor:
    """The logits with -inf for forbidden actions, so that their probability is 0."""
    return logits.masked_fill(~mask, -math.inf)


def protect_mask(minimax: Minimax, features: int, actions: int) -> None:
    """Exclude the last ``actions`` features, the action mask, from adversary and penalty.

    Raises:
        ValueError: an adversary without a ball.
    """
    if not isinstance(getattr(minimax.adversary, "ball", None), Ball):
        raise ValueError(
            f"adversary={type(minimax.adversary).__name__} has no ball that could leave the mask "
            "of actions alone; give for instance aajr.Ball('linf', 0.1)"
        )

    def protected(ball: Ball) -> Ball:
        return replace(
            ball,
            mask=_longer(True if ball.mask is None else ball.mask, features, actions, False),
            scale=None if ball.scale is None else _longer(ball.scale, features, actions, 1.0),
            low=None if ball.low is None else _longer(ball.low, features, actions, -math.inf),
            high=None if ball.high is None else _longer(ball.high, features, actions, math.inf),
        )

    minimax.adversary = with_ball(minimax.adversary, protected)
    penalty = minimax.penalty
    if not isinstance(penalty, Frobenius | Spectral | RandomDirection):
        return
    if not isinstance(penalty.mask, str):  # "moved" follows the adversary's
        mask = _longer(True if penalty.mask is None else penalty.mask, features, actions, False)
        minimax.penalty = replace(penalty, mask=mask)


def _longer(value: Tensor | float, features: int, actions: int, rest: float) -> Tensor:
    """A value per feature, broadcast to ``features``, then ``rest`` for the mask's features."""
    given = torch.as_tensor(value)
    given = given.reshape(1) if given.ndim == 0 else given
    given = given.expand(*given.shape[:-1], features)
    return torch.cat([given, torch.full((*given.shape[:-1], actions), rest).to(given)], -1)
