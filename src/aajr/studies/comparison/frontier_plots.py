"""Plot clean against worst-case success over all weights: the frontiers of two families."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aajr.report import wording
from aajr.report.figures import Plot, blank_figure
from aajr.statistics.frontiers import Comparison, Point, mean_points, pareto
from aajr.studies.comparison.analysis import SHARED_METHOD, Analysis, family_points
from aajr.studies.comparison.records import Results
from aajr.studies.methods import look, method_title

Array = NDArray[np.float64]


def frontier_plot(results: Results, analysis: Analysis) -> Plot | None:
    """Plot clean against worst-case success: a panel for each pair of families."""
    comparisons = [item for item in analysis.comparisons if item.difference is not None]
    if not comparisons:
        return None
    columns = min(3, len(comparisons))
    rows = -(-len(comparisons) // columns)
    figure = blank_figure(5.2 if columns == 1 else 3.7 * columns, 0.6 + 3.5 * rows)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flatten()
    for axis, comparison in zip(axes, comparisons, strict=False):
        _frontier_panel(axis, analysis, comparison)
    for axis in axes[len(comparisons) :]:
        axis.set_visible(False)
    figure.supxlabel("clean success, %", fontsize=9.5)
    figure.supylabel(f"worst-case success at ε = {analysis.epsilon:g}, %", fontsize=9.5)
    return Plot(
        f"frontier_{analysis.threat}",
        "Clean against worst-case success over all weights: small marks are seeds, large ones the "
        "mean of a weight, the line is the frontier of these means, the grey square is weight 0. "
        "Higher at the same clean success is better. The verdict pairs the frontiers by seed.",
        figure,
    )


def _frontier_panel(axis: Any, analysis: Analysis, comparison: Comparison) -> None:
    for family in (comparison.second, comparison.first):
        points = family_points(analysis.runs, family, analysis.epsilon)
        found = [point for seed in points.values() for point in seed]
        means = mean_points(found)
        _mark_seeds(axis, family, _shares([point for point in found if point.weight > 0]))
        axis.plot(*_shares(pareto(means)), color=look(family)[0], linewidth=1.8, zorder=3)
        _mark_means(axis, family, _shares(means), method_title(family), zorder=4)
    _shared_end(axis, analysis)
    verdict = f"{comparison.verdict.value}, {wording.difference(comparison.difference)}"
    names = [method_title(family) for family in (comparison.first, comparison.second)]
    axis.set_title(f"{' − '.join(names)}\n{verdict}", fontsize=9)
    axis.tick_params(labelbottom=True, labelleft=True)
    axis.legend(loc="best", fontsize=8.5, handletextpad=0.3)


def _shared_end(axis: Any, analysis: Analysis) -> None:
    curves = [run.worst_case() for run in analysis.runs if run.method == SHARED_METHOD]
    ends = [(c[0.0], c[analysis.epsilon]) for c in curves if {0.0, analysis.epsilon} <= c.keys()]
    if ends:
        shares = 100 * np.array(ends).T
        _mark_seeds(axis, SHARED_METHOD, shares)
        _mark_means(axis, SHARED_METHOD, shares.mean(1, keepdims=True), "λ = 0", zorder=5)


def _shares(points: Sequence[Point]) -> Array:
    """Clean and worst-case success in per cent, ``[2, points]``."""
    return np.array([[100 * p.clean for p in points], [100 * p.worst for p in points]])


def _mark_seeds(axis: Any, method: str, shares: Array) -> None:
    colour, marker, _ = look(method)
    axis.scatter(*shares, s=13, marker=marker, color=colour, alpha=0.4, linewidths=0)


def _mark_means(axis: Any, method: str, shares: Array, label: str, zorder: int) -> None:
    colour, marker, _ = look(method)
    axis.plot(
        *shares,
        marker,
        color=colour,
        markersize=7.5,
        markeredgecolor="white",
        zorder=zorder,
        label=label,
    )
