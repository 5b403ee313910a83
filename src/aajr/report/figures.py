"""Drawing and writing of all plots, as PNG and SVG.

Figures are drawn without pyplot and with fixed SVG identifiers: the same results give the same
bytes.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from aajr.report.style import STYLE

if TYPE_CHECKING:
    from aajr.statistics.intervals import Interval


@dataclass(frozen=True)
class Plot:
    """A drawn figure.

    Attributes:
        name: file name without ending.
        caption: a sentence that says what it shows.
        figure: the figure.
    """

    name: str
    caption: str
    figure: Any

    @cached_property
    def svg(self) -> bytes:
        """The figure as SVG, without date and version."""
        return self._drawn("svg", {"Date": None})

    @cached_property
    def png(self) -> bytes:
        """The figure as PNG."""
        return self._drawn("png", {"Software": None})

    def _drawn(self, kind: str, metadata: dict[str, None]) -> bytes:
        buffer = io.BytesIO()
        with matplotlib.rc_context(STYLE):
            self.figure.savefig(buffer, format=kind, metadata={**metadata, "Creator": None})
        return buffer.getvalue()


def blank_figure(width: float, height: float) -> Any:
    """An empty figure, width and height in inches."""
    layout = ConstrainedLayoutEngine(wspace=0.05, hspace=0.05)
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def log_scale(axis: Any) -> None:
    """Make an axis (``plot.xaxis`` or ``plot.yaxis``) logarithmic, with plain numbers."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def heat_map(
    axis: Any,
    values: NDArray[np.float64],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    largest: float = 100.0,
    bright: float = 55.0,
    rotation: float = 0.0,
    mark: Callable[[int, int], str] = lambda row, column: "",
) -> Any:
    """Draw a grid of whole numbers, coloured from dark (zero) to light.

    Args:
        axis: where to draw.
        values: ``[rows, columns]``; a cell of NaN stays empty.
        rows: labels of the rows.
        columns: labels of the columns.
        largest: value of the lightest colour.
        bright: from this value on the numbers are black.
        rotation: rotation of the columns' labels, in degrees.
        mark: function from row and column to the text after a cell's number.

    Returns:
        The image, for a colour bar.
    """
    picture = axis.imshow(values, cmap="cividis", vmin=0, vmax=largest, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            colour = "white" if value < bright else "black"
            text = f"{value:.0f}{mark(row, column)}"
            axis.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    side = "right" if rotation else "center"
    axis.set_xticks(range(len(columns)), columns, rotation=rotation, ha=side)
    axis.set_yticks(range(len(rows)), rows)
    axis.grid(False)
    return picture


def drawn(plots: Callable[[], Iterable[Plot]]) -> list[Plot]:
    """Draw the plots in the common style of all reports."""
    with matplotlib.rc_context(STYLE):
        found = list(plots())
        for plot in found:
            # the layout is fixed after one pass, since each further drawing would move it slightly
            plot.figure.draw_without_rendering()
            plot.figure.set_layout_engine("none")
    return found


def save(plots: Sequence[Plot], directory: Path) -> list[Path]:
    """Write each plot as PNG and SVG; without plots no directory is created."""
    paths = []
    for plot in plots:
        directory.mkdir(parents=True, exist_ok=True)
        for kind, data in (("png", plot.png), ("svg", plot.svg)):
            paths.append(directory / f"{plot.name}.{kind}")
            paths[-1].write_bytes(data)
    return paths


def arms(interval: Interval) -> tuple[float, float]:
    """Lengths of the error bar below and above, at least 0: an interval may exclude the mean."""
    if interval.low is None or interval.high is None:
        return 0.0, 0.0
    below, above = interval.estimate - interval.low, interval.high - interval.estimate
    return max(0.0, below), max(0.0, above)
