"""How the commands run a study."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from aajr.studies import Pool

Changes = Annotated[tuple[str, ...], tyro.conf.arg(name="set", metavar="NAME=VALUE")]
Ray = Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="[ADDRESS]")]
_FILE_WIDTH = 160
"""Columns of a table that goes to a file or a pipe."""


def run_study(
    name: str,
    preset: str | None,
    changes: tuple[str, ...],
    output: Path | None,
    work: Path,
    workers: int | None,
    ray: tuple[str, ...] | None,
) -> None:
    """Run a study, print its tables and write its results; status 1 if it says that it failed."""
    from rich.console import Console

    from aajr.studies import find_study

    found = find_study(name)
    chosen = preset or next(p for p in ("quick", "standard", "full") if p in found.presets)
    settings = found.preset(chosen, changes)
    directory = output or Path("results") / found.output.format(preset=chosen)
    work = work if ray is None else work.resolve()
    results = found.run(settings, work, None if found.timed else pool_of(workers, ray, work))
    found.report.write(results, directory)
    console = Console()
    if not console.is_terminal:
        console = Console(width=_FILE_WIDTH)
    console.print(found.report.render(results))
    console.print(f"Results, tables and plots: {directory}", soft_wrap=True)
    if found.failed(results):
        sys.exit(1)


def pool_of(workers: int | None, ray: tuple[str, ...] | None, work: Path) -> Pool:
    """Processes, or Ray on the cluster at an address, on a local one without."""
    from aajr import studies

    if ray is None:
        return studies.Workers(workers)
    if len(ray) > 1:
        raise ValueError(f"--ray {' '.join(ray)} names {len(ray)} addresses; give one or none")
    # only here: Ray is an extra
    return studies.RayWorkers(work, address=ray[0] if ray else None, count=workers)
