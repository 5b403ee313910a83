"""Progress of a study: a bar in a terminal, else a line every half minute."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

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
"""Seconds between two lines of progress."""

Tell = Callable[[int], None]
"""A function that is told how many more jobs have finished; the number may be 0."""


@contextmanager
def stage_progress(title: str, total: int, done: int) -> Iterator[Tell]:
    """Show the progress of one stage: a bar if stderr is a terminal, else lines.

    Args:
        title: title of the stage.
        total: number of its jobs.
        done: number of jobs that were finished before.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Lines(title, total, done).tell
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        yield partial(progress.advance, progress.add_task(title, total=total, completed=done))


class Lines:
    """Print a line when a stage begins and ends, and every half minute in between.

    Args:
        title: title of the stage.
        total: number of its jobs.
        done: number of jobs that were finished before.
        say: function that prints a line; by default to stderr.
        clock: function that returns the time in seconds.
    """

    def __init__(
        self,
        title: str,
        total: int,
        done: int,
        say: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._title, self._total, self._done, self._before = title, total, done, done
        self._say = say or partial(print, file=sys.stderr, flush=True)
        self._clock = clock
        self._began = self._last = clock()
        self._say(f"{title}: {done}/{total}")

    def tell(self, finished: int) -> None:
        """Count ``finished`` more jobs as finished."""
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
