"""A table without a medium, and its forms for the terminal and for Markdown."""

from __future__ import annotations

from dataclasses import dataclass

from rich import box
from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class Sheet:
    """A table without a medium.

    Attributes:
        title: heading.
        columns: names of the columns, in lines; the first holds names and stands left.
        rows: cells; the second line of a cell is the lesser one.
        notes: sentences beneath the table.
        rules: indices of rows above which a rule is drawn.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    rules: tuple[int, ...] = ()


def rich_table(sheet: Sheet) -> Table:
    """The sheet for a terminal."""
    table = Table(
        title=sheet.title, title_justify="left", title_style="bold", box=box.SIMPLE, padding=(0, 1)
    )
    for index, name in enumerate(sheet.columns):
        # the names may wrap but not vanish on a narrow terminal
        least = None if index else 16
        side: JustifyMethod = "right" if index else "left"
        table.add_column(name, justify=side, no_wrap=index > 0, min_width=least)
    for index, row in enumerate(sheet.rows):
        if index in sheet.rules:
            table.add_section()
        table.add_row(*(_cell(cell) for cell in row))
    return table


def markdown(sheet: Sheet) -> str:
    """The sheet as a section with a Markdown table and its notes.

    Example:
        >>> print(markdown(Sheet("Heights", ("name", "metres"), (("Ada", "1.6"),))))
        ## Heights
        <BLANKLINE>
        | name | metres |
        |---|---:|
        | Ada | 1.6 |
        <BLANKLINE>
    """
    ruler = "|---|" + "---:|" * (len(sheet.columns) - 1)
    lines = [f"## {sheet.title}", "", _line(sheet.columns), ruler, *map(_line, sheet.rows), ""]
    for note in sheet.notes:
        lines += [note, ""]
    return "\n".join(lines)


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("\n", " ").replace("|", "\\|") for cell in cells) + " |"


def _cell(text: str) -> Text:
    main, line_break, rest = text.partition("\n")
    return Text.assemble(main, line_break, (rest, "dim"))
