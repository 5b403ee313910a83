"""Table data, and its forms for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import JustifyMethod
from rich.table import Table as RichTable
from rich.text import Text


@dataclass(frozen=True)
class Table:
    """Table data, shown in the terminal, in Markdown and on a page.

    Attributes:
        title: heading.
        columns: names of the columns, with line breaks; the first column holds the rows' names and
            is aligned left.
        rows: cells; the second line of a cell is shown dimmed.
        notes: sentences below the table.
        rules: indices of rows above which a rule is drawn.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    rules: tuple[int, ...] = ()

    @classmethod
    def of(
        cls,
        title: str,
        columns: Mapping[str, Callable[[Any], str]],
        rows: Iterable[Any],
        *notes: str,
    ) -> Table:
        """A table from its columns: names, and functions from a row's record to a cell's text.

        Example:
            >>> Table.of("Squares", {"n": str, "n²": lambda n: str(n * n)}, [1, 2]).rows
            (('1', '1'), ('2', '4'))
        """
        cells = tuple(tuple(text(row) for text in columns.values()) for row in rows)
        return cls(title, tuple(columns), cells, notes)

    def rich(self) -> RichTable:
        """The table for a terminal, without its notes."""
        table = RichTable(
            title=self.title,
            title_justify="left",
            title_style="bold",
            box=box.SIMPLE,
            padding=(0, 1),
        )
        for index, name in enumerate(self.columns):
            # on a narrow terminal the rows' names may wrap but not vanish
            least = None if index else 16
            side: JustifyMethod = "right" if index else "left"
            table.add_column(name, justify=side, no_wrap=index > 0, min_width=least)
        for index, row in enumerate(self.rows):
            if index in self.rules:
                table.add_section()
            table.add_row(*map(_cell, row))
        return table

    def markdown(self) -> str:
        """The table as a section of a Markdown file, with its notes.

        Example:
            >>> print(Table("Heights", ("name", "metres"), (("Ada", "1.6"),)).markdown())
            ## Heights
            <BLANKLINE>
            | name | metres |
            |---|---:|
            | Ada | 1.6 |
            <BLANKLINE>
        """
        ruler = "|---|" + "---:|" * (len(self.columns) - 1)
        lines = [f"## {self.title}", "", _line(self.columns), ruler, *map(_line, self.rows), ""]
        for note in self.notes:
            lines += [note, ""]
        return "\n".join(lines)


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("\n", " ").replace("|", "\\|") for cell in cells) + " |"


def _cell(text: str) -> Text:
    main, line_break, rest = text.partition("\n")
    return Text.assemble(main, line_break, (rest, "dim"))
