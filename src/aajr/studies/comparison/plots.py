"""Every plot of a comparison, in the order of the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aajr.report.figures import Plot, drawn
from aajr.studies.comparison.analysis import Analysis
from aajr.studies.comparison.frontier_plots import frontier_plot
from aajr.studies.comparison.records import Results
from aajr.studies.comparison.response_plots import response_plot
from aajr.studies.comparison.success_plots import heatmap_plot, success_plot
from aajr.studies.comparison.training_plots import (
    cost_plot,
    gradient_plot,
    learning_plot,
    sensitivity_plot,
)


def draw(results: Results, analysis: Analysis) -> list[Plot]:
    """Draw every plot of one threat for which the results hold data."""
    drawers: Sequence[Callable[[Results, Analysis], Plot | None]] = (
        frontier_plot,
        success_plot,
        heatmap_plot,
        response_plot,
        learning_plot,
        gradient_plot,
        sensitivity_plot,
        cost_plot,
    )
    return drawn(lambda: filter(None, (drawer(results, analysis) for drawer in drawers)))
