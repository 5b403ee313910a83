"""``aajr theory``: the statements of the theory on random problems."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Literal

_FILE_WIDTH = 160
"""Columns of a table that goes to a file or a pipe."""


def theory(
    preset: Literal["smoke", "full"] = "full",
    problems: int | None = None,
    seed: int = 0,
    output: Path = Path("results/theory"),
    work: Path = Path("runs"),
    workers: int | None = None,
) -> None:
    """Check every statement on random networks, step sizes, and the price of robustness.

    Ends with status 1 if any statement is violated. A killed run goes on where it was.

    For example:

    $ aajr theory

    $ aajr theory --preset smoke --output /tmp/theory

    $ aajr theory --problems 5000 --seed 1 --output /tmp/theory

    Args:
        preset: smoke (half a minute) or full (minutes).
        problems: random problems; those of the preset by default, 1000 in full.
        seed: of the problems.
        output: directory of results.json, table.md and plots.
        work: directory of partial results.
        workers: processes; as many as cores by default.
    """
    from rich.console import Console

    from aajr.studies.theory import PRESETS, render, study, violations, write

    config = dataclasses.replace(PRESETS[preset], seed=seed)
    if problems is not None:
        config = dataclasses.replace(config, problems=problems)
    results = study(config, work, workers)
    write(results, output)
    console = Console()
    if not console.is_terminal:
        console = Console(width=_FILE_WIDTH)
    console.print(render(results))
    console.print(f"Tables and plots: {output}", soft_wrap=True)
    if violations(results):
        sys.exit(1)
