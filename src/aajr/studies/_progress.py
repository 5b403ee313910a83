"""How far a study is: bars in a terminal, a line every so often anywhere else."""

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
"""Seconds between two lines."""

Tell = Callable[[int], None]
"""Takes how many more jobs are finished, maybe none."""


@contextmanager
def stage_progress(title: str, total: int, done: int) -> Iterator[Tell]:
    """Show one stage: a bar where the error output is a terminal, else lines.

    Args:
        title: of the stage.
        total: its jobs.
        done: jobs that were finished before.
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
    """A line when a stage begins and ends, and every half minute between.

    Args:
        title: of the stage.
        total: its jobs.
        done: jobs that were finished before.
        say: takes a line; by default it goes to the error output.
        clock: seconds.
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
        """So many more jobs are finished."""
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
