"""Pools that run the stages of a study: in several processes or in this process."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import AbstractContextManager, closing
from typing import Any

import torch

from aajr.studies._progress import stage_progress

Job = tuple[Callable[..., None], tuple[Any, ...]]
Ended = Generator[int, None, None]


class Pool(AbstractContextManager["Pool"]):
    """Run stages of independent jobs and show their progress."""

    def run(self, title: str, jobs: Sequence[Job], done: int = 0) -> None:
        """Run every job of a stage; the first error cancels the other jobs and is raised.

        Args:
            title: title of the stage.
            jobs: functions with their arguments.
            done: number of the stage's jobs that were finished before and are not in ``jobs``.
        """
        with (
            stage_progress(title, done + len(jobs), done) as tell,
            closing(self._finish(title, jobs)) as counts,
        ):
            for ended in counts:
                tell(ended)

    @abstractmethod
    def _finish(self, title: str, jobs: Sequence[Job]) -> Ended:
        """Run the jobs and yield, if possible every second, how many have just finished."""


class InProcess(Pool):
    """Run the jobs in this process, one after another; for measuring times and for tests.

    Args:
        threads: number of torch's threads while jobs run, by default one as in the other pools;
            None leaves the number unchanged.
    """

    def __init__(self, threads: int | None = 1) -> None:
        self._threads = threads

    def __exit__(self, *error: object) -> None:
        """Do nothing: no job is running any more."""

    def _finish(self, title: str, jobs: Sequence[Job]) -> Ended:
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads or before)
        try:
            for function, arguments in jobs:
                function(*arguments)
                yield 1
        finally:
            torch.set_num_threads(before)


class Workers(Pool):
    """Run the jobs in several processes of one thread each.

    Args:
        count: number of processes; by default the number of cores.
    """

    def __init__(self, count: int | None = None) -> None:
        self._pool = ProcessPoolExecutor(
            count or os.cpu_count() or 1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
        )

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown()

    def _finish(self, title: str, jobs: Sequence[Job]) -> Ended:
        pending = {self._pool.submit(function, *arguments) for function, arguments in jobs}
        try:
            while pending:
                ended, pending = wait(pending, timeout=1.0, return_when=FIRST_COMPLETED)
                for job in ended:
                    job.result()
                yield len(ended)
        finally:
            for job in pending:
                job.cancel()


def _start_worker() -> None:
    torch.set_num_threads(1)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    # workers must stop when their main process is killed
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
