"""Groups of features that an adversary changes together."""

from __future__ import annotations

import torch
from torch import Tensor


def check_groups(groups: Tensor | None) -> None:
    """Raise ValueError unless ``groups`` is None or whole numbers, one of them not negative."""
    if groups is None:
        return
    if not isinstance(groups, Tensor) or groups.dtype != torch.long:
        kind = groups.dtype if isinstance(groups, Tensor) else type(groups).__name__
        raise ValueError(f"groups is {kind}; give a torch.long tensor, -1 for protected features")
    if not bool((groups >= 0).any()):
        raise ValueError("groups holds no group; number at least one from 0, -1 protects")


def membership(groups: Tensor | None, x: Tensor, event_dims: int) -> Tensor:
    """Which feature is in which group, ``[groups, *event]``; for None each feature is a group.

    The event is the last ``event_dims`` dimensions of x.

    Raises:
        ValueError: ``groups`` does not have the shape of one sample of x.
    """
    event = x.shape[-event_dims:]
    if groups is None:
        size = event.numel()
        return torch.eye(size, dtype=torch.bool, device=x.device).reshape(size, *event)
    if groups.shape != event:
        raise ValueError(
            f"groups has shape {tuple(groups.shape)} but one sample of x has {tuple(event)}; "
            "they must agree"
        )
    names = torch.unique(groups[groups >= 0])
    return (groups == names.reshape(-1, *[1] * groups.ndim)).to(x.device)


def group_sum(value: Tensor, members: Tensor) -> Tensor:
    """Sums over groups: ``[..., *event]`` and ``[groups, *event]`` to ``[..., groups]``."""
    event = members.ndim - 1
    return value.flatten(-event) @ members.flatten(1).to(value).T


def touched(delta: Tensor, members: Tensor) -> Tensor:
    """Groups with a feature that δ changes, ``[..., groups]``."""
    return group_sum((delta != 0).to(delta), members) > 0


def keep_best(gain: Tensor, budget: int) -> Tensor:
    """True for the k groups of largest positive gain, first of equals first, ``[..., groups]``."""
    return largest(gain, budget) & (gain > 0)


def largest(value: Tensor, budget: int) -> Tensor:
    """True for the k largest entries of the last dimension, first of equals first."""
    order = value.argsort(dim=-1, descending=True, stable=True)
    chosen = torch.zeros_like(value, dtype=torch.bool)
    return chosen.scatter_(-1, order[..., :budget], True)


def on_features(chosen: Tensor, members: Tensor) -> Tensor:
    """Features of the chosen groups: ``[..., groups]`` to ``[..., *event]``."""
    flat = chosen.to(torch.float32) @ members.flatten(1).to(torch.float32)
    return (flat > 0).reshape(*chosen.shape[:-1], *members.shape[1:])
