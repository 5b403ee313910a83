"""The files that every study writes: raw results, tables, plots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

from aajr.report.figures import Plot, save, settle
from aajr.report.files import write_json
from aajr.report.style import STYLE
from aajr.report.tables import Table

Drawer = Callable[[dict[str, Any]], Plot]
"""Draws one plot from the results of a study."""


def write_study(
    results: dict[str, Any],
    directory: Path,
    heading: Sequence[str],
    tables: Sequence[Table],
    drawers: Sequence[Drawer] = (),
) -> None:
    """Write ``results.json``, ``table.md`` and ``plots/``.

    Args:
        results: raw results with the ``command`` that made them.
        directory: where to write; it is made if need be.
        heading: title of the study, and further paragraphs that stand before the tables.
        tables: tables, in their order.
        drawers: the plots, drawn in the style of all reports.
    """
    directory.mkdir(parents=True, exist_ok=True)
    write_json(directory / "results.json", results)
    title, *paragraphs = heading
    head = "\n\n".join([f"# {title}", f"`{results['command']}`", *paragraphs])
    body = "\n".join(table.markdown() for table in tables)
    (directory / "table.md").write_text(f"{head}\n\n{body}")
    with matplotlib.rc_context(STYLE):
        plots = [draw(results) for draw in drawers]
        settle(plots)
    save(plots, directory / "plots")
