"""How far a study is: bars in a terminal, a line every so often anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

EVERY = 30.0
"""Seconds between two lines."""


class StageProgress(Protocol):
    """What a pool tells of its stages."""

    def __enter__(self) -> StageProgress:
        """Start to show."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""

    def begin(self, title: str, total: int, done: int) -> None:
        """A stage of ``total`` jobs begins, of which ``done`` were there before."""

    def tell(self, finished: int) -> None:
        """So many more jobs are finished, maybe none."""


def stage_progress() -> StageProgress:
    """Bars where the error output is a terminal, else lines."""
    console = Console(stderr=True)
    return Bars(console) if console.is_terminal else Lines()


class Bars:
    """A bar for every stage, with time passed and left."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def begin(self, title: str, total: int, done: int) -> None:
        self._task = self._progress.add_task(title, total=total, completed=done)

    def tell(self, finished: int) -> None:
        self._progress.advance(self._task, finished)


class Lines:
    """A line when a stage begins and ends, and every half minute between.

    Args:
        say: takes a line; by default it goes to the error output.
        clock: seconds.
    """

    def __init__(
        self, say: Callable[[str], None] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say = say or (lambda line: print(line, file=sys.stderr, flush=True))
        self._clock = clock

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is left to stop."""

    def begin(self, title: str, total: int, done: int) -> None:
        self._title, self._total, self._done, self._before = title, total, done, done
        self._began = self._last = self._clock()
        self._say(f"{title}: {done}/{total}")

    def tell(self, finished: int) -> None:
        self._done += finished
        now = self._clock()
        ended = finished > 0 and self._done == self._total
        if ended or now - self._last >= EVERY:
            self._last = now
            self._say(f"{self._title}: {self._done}/{self._total}{self._pace(now)}")

    def _pace(self, now: float) -> str:
        fresh, seconds = self._done - self._before, now - self._began
        if not fresh or seconds <= 0:
            return f", {_duration(seconds)} so far"
        left = (self._total - self._done) * seconds / fresh
        return f", {60 * fresh / seconds:.3g} a minute, {_duration(left)} left"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
