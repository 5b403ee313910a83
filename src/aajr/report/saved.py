"""Reports that are printed as a table with findings, and saved as JSON or as one page."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from rich.console import Console

from aajr.report.files import write_json, write_whole
from aajr.report.tables import Table

WIDTH = 110
"""Columns of a printed report."""


class SavedReport(ABC):
    """A dataclass that is a report."""

    @property
    @abstractmethod
    def findings(self) -> tuple[str, ...]:
        """What was found, in sentences."""

    @abstractmethod
    def table(self) -> Table:
        """What was measured under each attack."""

    @abstractmethod
    def _page(self) -> str:
        """The report as one HTML page."""

    @abstractmethod
    def _computed(self) -> dict[str, Any]:
        """What the JSON file shows beside the fields, as JSON values."""

    def __str__(self) -> str:
        """The table and the findings, for ``print``."""
        table = self.table()
        console = Console(width=WIDTH, no_color=True)
        with console.capture() as text:
            console.print(table.rich(), *table.notes, "", *self.findings, sep="\n")
        return text.get()

    def save(self, path: str | Path) -> Path:
        """Write the report as ``.json``, which ``read`` reads, or as one ``.html`` page.

        Raises:
            ValueError: another ending.
        """
        path = Path(path)
        if path.suffix not in (".json", ".html"):
            raise ValueError(f"path={str(path)!r} ends neither in .json nor in .html")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".html":
            write_whole(path, self._page())
        else:
            own: Any = self
            write_json(path, dataclasses.asdict(own) | self._computed())
        return path
