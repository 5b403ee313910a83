"""The progress bar of the commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_FILE_WIDTH = 160
"""Width in characters of output to a file or a pipe."""


def wide_console() -> Console:
    """A console for tables: as wide as the terminal, and wide for a file or a pipe."""
    console = Console()
    return console if console.is_terminal else Console(width=_FILE_WIDTH)


def progress_bar(console: Console | None = None) -> Progress:
    """A progress bar with the current task, its progress, and the elapsed and remaining time."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )


@contextmanager
def parts_bar(console: Console) -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar as a function of the finished parts, all parts and words about the next."""
    with progress_bar(console) as progress:
        task = progress.add_task("loading", total=None)

        def show(done: int, parts: int, words: str) -> None:
            progress.update(task, completed=done, total=parts, description=words)

        yield show
        (shown,) = progress.tasks
        progress.update(task, completed=shown.total, description="done")
