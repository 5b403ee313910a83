"""Where the stages of a study run: in processes, in this process, or on Ray."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from types import TracebackType
from typing import Any

import torch

from aajr.studies._progress import stage_progress

Job = tuple[Callable[..., None], tuple[Any, ...]]


class Pool(ABC):
    """Runs stages of independent jobs and shows how far they are."""

    def __init__(self) -> None:
        self._progress = stage_progress()

    def __enter__(self) -> Pool:
        self._open()
        self._progress.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.__exit__(kind, error, trace)
        self._close()

    def run(self, title: str, jobs: Sequence[Job], done: int = 0) -> None:
        """Run every job of a stage; the first error cancels the others and is raised.

        Args:
            title: of the stage.
            jobs: functions and their arguments.
            done: jobs of the stage that were finished before and are not among these.
        """
        self._progress.begin(title, done + len(jobs), done)
        pending = [self._begin(*job) for job in jobs]
        try:
            while pending:
                ended, pending = self._wait(pending)
                for job in ended:
                    self._end(title, job)
                self._progress.tell(len(ended))
        except BaseException:
            for job in pending:
                self._cancel(job)
            raise

    @abstractmethod
    def _open(self) -> None:
        """Start."""

    @abstractmethod
    def _close(self) -> None:
        """Stop."""

    @abstractmethod
    def _begin(self, function: Callable[..., None], arguments: tuple[Any, ...]) -> Any:
        """Hand in a job."""

    @abstractmethod
    def _wait(self, pending: list[Any]) -> tuple[list[Any], list[Any]]:
        """Jobs that have ended within a second, and the others."""

    @abstractmethod
    def _end(self, title: str, job: Any) -> None:
        """Raise the error of a job that has ended, if any."""

    @abstractmethod
    def _cancel(self, job: Any) -> None:
        """Give up a job that is not needed any more."""


class InProcess(Pool):
    """Runs the jobs here, one after another; for measured times and for tests.

    Args:
        threads: of torch meanwhile, one as in the other pools; None leaves them as they are.
    """

    def __init__(self, threads: int | None = 1) -> None:
        super().__init__()
        self._threads = threads

    def _open(self) -> None:
        self._before = torch.get_num_threads()
        torch.set_num_threads(self._threads or self._before)

    def _close(self) -> None:
        torch.set_num_threads(self._before)

    def _begin(self, function: Callable[..., None], arguments: tuple[Any, ...]) -> Job:
        return function, arguments

    def _wait(self, pending: list[Job]) -> tuple[list[Job], list[Job]]:
        return pending[:1], pending[1:]

    def _end(self, title: str, job: Job) -> None:
        function, arguments = job
        function(*arguments)

    def _cancel(self, job: Job) -> None:
        """It has not begun."""


class Workers(Pool):
    """Runs the jobs in processes of one thread each.

    Args:
        count: processes; as many as cores by default.
    """

    def __init__(self, count: int | None = None) -> None:
        super().__init__()
        self._pool = ProcessPoolExecutor(
            count or os.cpu_count() or 1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
        )

    def _open(self) -> None:
        """The processes start with the first job."""

    def _close(self) -> None:
        self._pool.shutdown()

    def _begin(self, function: Callable[..., None], arguments: tuple[Any, ...]) -> Future[None]:
        return self._pool.submit(function, *arguments)

    def _wait(self, pending: list[Future[None]]) -> tuple[list[Any], list[Any]]:
        ended, others = wait(pending, timeout=1.0, return_when=FIRST_COMPLETED)
        return list(ended), list(others)

    def _end(self, title: str, job: Future[None]) -> None:
        job.result()

    def _cancel(self, job: Future[None]) -> None:
        job.cancel()


def _start_worker() -> None:
    torch.set_num_threads(1)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    # a killed main process must not leave workers that go on computing
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
