"""FLOPs, memory and time of optimiser steps of TRL's trainers, with and without a penalty."""

from __future__ import annotations

import tempfile
import time
import weakref
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from aajr.integrations.trl import Robustness
from aajr.studies.language_cost._training import Setup, trainer


class PeakMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Context that measures the peak memory of the tensors that are created inside it.

    Attributes:
        peak: largest number of bytes alive at the same time.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._alive = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run the operation and count the memory of its results."""
        result = func(*args, **(kwargs or {}))
        given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if _is_plain(t)}
        for tensor in tree_leaves(result):
            if _is_plain(tensor) and tensor.untyped_storage()._cdata not in given:
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage: Any) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self._alive += size
        self.peak = max(self.peak, self._alive)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._alive -= size


def _is_plain(value: object) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided


def measure(setup: Setup, robustness: Robustness | None) -> dict[str, float]:
    """Measure one optimiser step: its ``flops`` and its peak memory in ``bytes``.

    Args:
        setup: trainer, adapters, checkpointing and sizes.
        robustness: settings of the penalty; None for the host without a penalty.
    """
    flops = FlopCounterMode(display=False)
    _step(setup, robustness, flops)  # a separate step, because counting keeps tensors alive
    return {"flops": float(flops.get_total_flops()), **peak(setup, robustness)}


def peak(setup: Setup, robustness: Robustness | None) -> dict[str, float]:
    """Peak memory of tensors in one optimiser step in ``bytes``, including the parameters.

    Args:
        setup: trainer, adapters, checkpointing and sizes.
        robustness: settings of the penalty; None for the host without a penalty.
    """
    memory = PeakMemory()
    held = _step(setup, robustness, memory)
    return {"bytes": float(memory.peak + held)}


def seconds(setup: Setup, robustness: Robustness, pairs: int) -> dict[str, list[float]]:
    """CPU time in seconds of optimiser steps of one training run, ``penalised`` and ``host``.

    Every second step is penalised; the other steps are those of the host. The first pair of steps
    is a warm-up and left out. A pair is also left out if its penalised step had no penalty, as in
    GRPO when all advantages are zero.

    Args:
        setup: trainer, adapters, checkpointing and sizes.
        robustness: settings of the penalty; its interval is ignored.
        pairs: number of timed pairs of steps.
    """
    clock, steps = _clock(), 2 * (pairs + 1)
    with tempfile.TemporaryDirectory() as directory:
        found = trainer(setup, replace(robustness, interval=2), Path(directory), steps=steps)
        found.add_callback(clock)
        torch.manual_seed(0)
        found.train()
    logs = [entry for entry in found.state.log_history if "loss" in entry]
    due = [step for step in range(2, steps, 2) if "aajr/penalty" in logs[step]]
    return {
        "penalised": [clock.seconds[step] for step in due],
        "host": [clock.seconds[step + 1] for step in due],
    }


def _clock() -> Any:
    """Build a callback whose ``seconds`` are the CPU times of the steps."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):  # type: ignore[misc]
        """Records the CPU time of each step, over all threads of this process."""

        def __init__(self) -> None:
            self.seconds: list[float] = []

        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            """Start the clock."""
            self._start = time.process_time()

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            """Stop the clock."""
            self.seconds.append(time.process_time() - self._start)

    return Clock()


def _step(setup: Setup, robustness: Robustness | None, watch: AbstractContextManager[Any]) -> int:
    """Train one step inside the context ``watch``; return the bytes of the parameters."""
    with tempfile.TemporaryDirectory() as directory:
        found = trainer(setup, robustness, Path(directory), steps=1)
        torch.manual_seed(0)  # GRPO then samples equally long answers with and without a penalty
        with watch:
            found.train()
    return sum(p.nbytes for p in found.model.parameters())


def amortised(host: float, penalised: float, interval: int) -> float:
    """Mean cost of a step over the host's, if every ``interval``-th step is penalised."""
    return 1 + (penalised / host - 1) / interval
