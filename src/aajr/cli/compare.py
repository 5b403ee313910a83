"""``aajr compare``: two reports of ``aajr attack`` that differ in nothing but the agents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro


def compare(
    first: Annotated[Path, tyro.conf.Positional],
    second: Annotated[Path, tyro.conf.Positional],
) -> None:
    """Compare two reports of attacked agents: paired differences and a verdict for each attack.

    Both reports must have one environment, ball, unit, suite, number of episodes and seed.

    For example:

    $ aajr compare plain/report.json robust/report.json

    Args:
        first: report.json of one agent.
        second: report.json of the other.
    """
    from aajr.arena.reports.comparing import compare as compare_reports
    from aajr.arena.reports.report import Report
    from aajr.cli._bar import wide_console

    for path in (first, second):
        if not path.is_file():
            raise ValueError(f"{path} does not exist; give the report.json of aajr attack")
    console = wide_console()
    reports = Report.read(first), Report.read(second)
    found = compare_reports(*reports)
    for name, path, report in zip(("first", "second"), (first, second), reports, strict=True):
        agents = ", ".join(one.assessment.checkpoint for one in report.agents)
        console.print(f"{name}: {agents} ({path})", soft_wrap=True)
    table = found.table()
    console.print(table.rich(), *table.notes, sep="\n")
