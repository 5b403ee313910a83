"""Running a study from the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from aajr.studies import Pool

Changes = Annotated[tuple[str, ...], tyro.conf.arg(name="set", metavar="NAME=VALUE")]
Ray = Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="[ADDRESS]")]


def run_study(
    name: str,
    preset: str | None,
    changes: tuple[str, ...],
    output: Path | None,
    work: Path,
    workers: int | None,
    ray: tuple[str, ...] | None,
) -> None:
    """Run a study, print its tables and write its results; exit with status 1 if it failed."""
    from aajr.cli._bar import wide_console
    from aajr.studies import find_study

    found = find_study(name)
    chosen = preset or next(p for p in ("quick", "standard", "full") if p in found.presets)
    settings = found.preset(chosen, changes)
    directory = output or Path("results") / found.output.format(preset=chosen)
    work = work if ray is None else work.resolve()
    results = found.run(settings, work, None if found.timed else pool_of(workers, ray, work))
    found.report.write(results, directory)
    console = wide_console()
    console.print(found.report.render(results))
    console.print(f"Results, tables and plots: {directory}", soft_wrap=True)
    if found.failed(results):
        sys.exit(1)


def pool_of(workers: int | None, ray: tuple[str, ...] | None, work: Path) -> Pool:
    """Processes if ``ray`` is None, else Ray on the cluster at the address or on a local one."""
    from aajr import studies

    if ray is None:
        return studies.Workers(workers)
    if len(ray) > 1:
        raise ValueError(f"--ray {' '.join(ray)} names {len(ray)} addresses; give one or none")
    # imported only here, since Ray is an optional extra
    return studies.RayWorkers(work, address=ray[0] if ray else None, count=workers)
