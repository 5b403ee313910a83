"""``aajr report``: the report page of finished comparisons."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro


def report(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional],
    output: Path | None = None,
) -> None:
    """Write report.html, one file that works offline, and the plots as PNG and SVG.

    It makes no new measurements. The page shows a replay if the directory holds a replay.json.

    For example:

    $ aajr report results/others

    $ aajr report results/others results/quick --output results/both

    Args:
        runs: directories with a results.json, shown one after another.
        output: directory to write to; by default the first of ``runs``.
    """
    from rich.console import Console

    from aajr.studies.comparison.page import read_chapter, write_page

    if not runs:
        raise ValueError("runs is empty; give at least one directory with a results.json")
    for run in runs:
        if not (run / "results.json").is_file():
            raise ValueError(f"{run} holds no results.json; `aajr reproduce` writes it")
    directory = output or runs[0]
    write_page([read_chapter(run) for run in runs], directory)
    page = directory / "report.html"
    size = page.stat().st_size / 1e6
    Console().print(f"Report: {page} ({size:.1f} MB)", soft_wrap=True)
