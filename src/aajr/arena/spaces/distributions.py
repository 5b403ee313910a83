"""Independent categorical heads as a distribution for TorchRL."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from aajr.arena.spaces.heads import greedy_heads
from aajr.geometry import Categorical


class CategoricalHeads(torch.distributions.Distribution):
    """Product of categorical distributions whose logits share the last dimension.

    Args:
        logits: ``[..., sum(heads)]``.
        heads: sizes of the heads.

    Example:
        >>> import torch
        >>> CategoricalHeads(torch.zeros(1, 4), (2, 2)).entropy().exp().round()
        tensor([4.])
    """

    arg_constraints = {}  # noqa: RUF012 - the base class declares it so

    def __init__(self, logits: Tensor, heads: tuple[int, ...]) -> None:
        self.heads = heads
        self.logits = Categorical(heads).log_probabilities(logits)
        super().__init__(logits.shape[:-1], torch.Size([len(heads)]), validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of actions ``[..., heads]``: ``[...]``."""
        offsets = _offsets(tuple(self.heads), value.device)
        return self.logits.gather(-1, value.long() + offsets).sum(-1)

    def entropy(self) -> Tensor:
        """Sum of the heads' entropies, ``[...]``."""
        finite = self.logits.clamp_min(torch.finfo(self.logits.dtype).min)  # 0 · -inf is NaN
        return -(self.logits.exp() * finite).sum(-1)

    @property
    def mode(self) -> Tensor:
        """Most likely action, ``[..., heads]``."""
        return greedy_heads(self.logits, self.heads)


@functools.cache
def _offsets(heads: tuple[int, ...], device: torch.device) -> Tensor:
    """Where each head begins among the logits, ``[heads]``."""
    return torch.tensor([0, *heads[:-1]], device=device).cumsum(0)
