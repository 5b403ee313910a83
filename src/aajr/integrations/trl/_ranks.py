"""Sums and directions over all processes of a training, for the penalty of the global batch.

Every process runs the same passes, because the host's loss communicates inside them. A process
that has nothing to penalise takes part with weight 0.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Span = tuple[bytes, int]
"""An attacked text: a digest of its tokens, and their number."""


@dataclass(frozen=True, eq=False)
class Ranks:
    """The processes of a training.

    Attributes:
        accelerator: the trainer's; None for a single process.
        shared: attacked texts that several processes hold, in the same order on all.
    """

    accelerator: Any = None
    shared: tuple[Span, ...] = ()

    @property
    def count(self) -> int:
        """Number of processes."""
        return 1 if self.accelerator is None else int(self.accelerator.num_processes)

    def total(self, values: Sequence[Tensor | float]) -> Tensor:
        """Sum over the processes, ``[len(values)]`` in float64."""
        here = torch.stack([torch.as_tensor(v).detach().double().cpu() for v in values])
        if self.count == 1:
            return here
        found: Tensor = self.accelerator.reduce(here.to(self.accelerator.device), "sum")
        return found.cpu()

    def with_shared_texts(self, text: Tensor) -> Ranks:
        """A copy that records which attacked texts of these rows other processes hold too.

        Args:
            text: attacked tokens of the rows, -1 elsewhere, ``[rows, tokens]``.
        """
        if self.count == 1:
            return self
        from accelerate.utils import gather_object

        held = Counter(gather_object(list(_places(text))))
        return Ranks(self.accelerator, tuple(sorted(span for span, n in held.items() if n > 1)))

    def added(self, value: Tensor, text: Tensor) -> Tensor:
        """The value plus the values of other processes for the same attacked text.

        Args:
            value: the same for rows that share an attacked text, ``[rows, tokens, d]``.
            text: attacked tokens of the rows, -1 elsewhere, ``[rows, tokens]``.
        """
        if not self.shared:
            return value
        places, sizes = _places(text), [size for _, size in self.shared]
        parts = [
            value[places[span][0]][text[places[span][0]] >= 0]
            if span in places
            else value.new_zeros(span[1], value.shape[-1])
            for span in self.shared
        ]
        summed = self.accelerator.reduce(torch.cat(parts), "sum").split(sizes)
        value = value.clone()
        for span, part in zip(self.shared, summed, strict=True):
            for row in places.get(span, ()):
                value[row, text[row] >= 0] = part
        return value


ALONE = Ranks()
"""A single process."""


def _places(text: Tensor) -> dict[Span, list[int]]:
    """Indices of the rows of every attacked text."""
    found: dict[Span, list[int]] = {}
    for row, tokens in enumerate(text.cpu()):
        kept = tokens[tokens >= 0].contiguous()
        if len(kept):
            span = (hashlib.sha256(kept.numpy().tobytes()).digest(), len(kept))
            found.setdefault(span, []).append(row)
    return found


@contextmanager
def gathering_unequal_rows(accelerator: Any) -> Iterator[None]:
    """Let the host gather metrics although processes hold different numbers of rows.

    A plain gather of unequal shapes hangs.
    """
    if accelerator.num_processes == 1:
        yield
        return
    plain = accelerator.gather

    def gather(value: Any) -> Any:
        if not isinstance(value, Tensor) or value.ndim == 0:
            return plain(value)
        lengths = plain(torch.tensor([len(value)], device=value.device)).tolist()
        if len(set(lengths)) == 1:
            return plain(value)
        filler = value.new_zeros(max(lengths) - len(value), *value.shape[1:])
        pieces = plain(torch.cat([value, filler])).chunk(len(lengths))
        return torch.cat([piece[:n] for piece, n in zip(pieces, lengths, strict=True)])

    accelerator.gather = gather
    try:
        yield
    finally:
        del accelerator.gather
