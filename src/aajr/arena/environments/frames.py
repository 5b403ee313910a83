"""Steps of running episodes, collected to one tensor of all episodes."""

from __future__ import annotations

import torch
from torch import Tensor


class Frames:
    """What the running episodes had at every step.

    Example:
        >>> frames = Frames()
        >>> frames.add(torch.tensor([0, 1]), torch.tensor([5.0, 6.0]))
        >>> frames.add(torch.tensor([1]), torch.tensor([7.0]))
        >>> played, (reward,) = frames.padded(episodes=2)
        >>> played, reward
        (tensor([[ True, False],
                [ True,  True]]), tensor([[5., 0.],
                [6., 7.]]))
    """

    def __init__(self) -> None:
        self._steps: list[tuple[Tensor, ...]] = []

    def __len__(self) -> int:
        """Number of steps."""
        return len(self._steps)

    def add(self, episodes: Tensor, *parts: Tensor) -> None:
        """Keep one step.

        Args:
            episodes: numbers of the running episodes, ``[running]``.
            parts: tensors with one row for each of them.
        """
        self._steps.append((episodes, *parts))

    def padded(self, episodes: int) -> tuple[Tensor, list[Tensor]]:
        """All steps, with zeros after the end of an episode.

        Returns:
            Steps that were played, boolean ``[episodes, steps]``, and the parts,
            ``[episodes, steps, ...]``.
        """
        shape = (episodes, len(self))
        played = torch.zeros(shape, dtype=torch.bool)
        kept = [part.new_zeros(*shape, *part.shape[1:]) for part in self._steps[0][1:]]
        for step, (rows, *parts) in enumerate(self._steps):
            played[rows, step] = True
            for whole, part in zip(kept, parts, strict=True):
                whole[rows, step] = part
        return played, kept
