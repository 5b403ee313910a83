"""The report of a study: its tables and plots, in a terminal and as files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from aajr.report.figures import Plot, drawn, save
from aajr.report.files import write_json
from aajr.report.tables import Table

Results = dict[str, Any]


@dataclass(frozen=True)
class StudyReport:
    """Functions that turn the raw results of a study into tables and plots.

    Attributes:
        title: title of ``table.md``; ``{preset}`` and other entries of the results are filled in.
        tables: function that returns the tables, in their order.
        plots: functions that draw one plot each.
        headline: function that returns a sentence before the tables.
    """

    title: str
    tables: Callable[[Results], Sequence[Table]]
    plots: Sequence[Callable[[Results], Plot]] = ()
    headline: Callable[[Results], Text] | None = None

    def render(self, results: Results) -> RenderableType:
        """The tables for a terminal."""
        head = [] if self.headline is None else [self.headline(results)]
        return Group(*head, *(table.rich() for table in self.tables(results)))

    def write(self, results: Results, directory: Path) -> None:
        """Write ``results.json``, ``table.md`` and ``plots/``.

        Args:
            results: raw results with the ``command`` that made them.
            directory: directory to write to; it is created if it does not exist.
        """
        directory.mkdir(parents=True, exist_ok=True)
        write_json(directory / "results.json", results)
        head = [f"# {self.title.format(**results)}", f"`{results['command']}`"]
        head += [] if self.headline is None else [self.headline(results).plain]
        body = "\n".join(table.markdown() for table in self.tables(results))
        (directory / "table.md").write_text("\n\n".join([*head, body]))
        save(drawn(lambda: (draw(results) for draw in self.plots)), directory / "plots")
