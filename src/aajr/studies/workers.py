"""Worker processes with a progress bar for every stage of a study."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from types import TracebackType
from typing import Any, Protocol

import torch
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Job = tuple[Callable[..., None], tuple[Any, ...]]


class Pool(Protocol):
    """Where the stages of a study run: :class:`Workers`, or Ray."""

    def __enter__(self) -> Pool:
        """Start, and show the progress."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""

    def run(self, title: str, batch: Sequence[Job]) -> None:
        """Run every job of a stage; the first error cancels the others and is raised."""


def stage_progress() -> Progress:
    """A progress bar for every stage, with time passed and left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )


class Workers:
    """A pool of single-threaded processes that runs stages of independent jobs.

    Args:
        count: processes; as many as cores by default.
    """

    def __init__(self, count: int | None = None) -> None:
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(
            count or os.cpu_count() or 1, mp_context=context, initializer=_start_worker
        )
        self._progress = stage_progress()

    def __enter__(self) -> Workers:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()
        self._pool.shutdown()

    def run(self, title: str, batch: Sequence[Job]) -> None:
        """Run every job; the first error cancels those that have not begun and is raised."""
        task = self._progress.add_task(title, total=len(batch))
        futures = [self._pool.submit(function, *arguments) for function, arguments in batch]
        try:
            for future in as_completed(futures):
                future.result()
                self._progress.advance(task)
        except BaseException:
            for future in futures:
                future.cancel()
            raise


def _start_worker() -> None:
    torch.set_num_threads(1)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    # a killed main process must not leave workers that go on computing
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
