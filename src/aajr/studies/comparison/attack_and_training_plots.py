"""Plots of the report: attack × ε × method, and the course of the training."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from aajr.report import wording
from aajr.report.figures import Plot, blank_figure
from aajr.report.style import look
from aajr.studies.comparison.analysis import Analysis, Summary
from aajr.studies.comparison.records import Results

_CURVES = {
    "success": "success in training, %",
    "return": "return",
    "gradient_norm": "‖gradient‖ of the parameters",
    "inner_gradient_norm": "‖gradient‖ of the adversary",
}


def heatmap_plot(_: Results, analysis: Analysis) -> Plot | None:
    """Success of each method under each attack at each radius: a panel for each method."""
    attacks = list(
        dict.fromkeys(
            score.attack
            for summary in analysis.summaries
            for run in summary.runs
            for score in run.scores
            if score.epsilon > 0
        )
    )
    radii = [radius for radius in analysis.radii if radius > 0]
    if not attacks or not radii:
        return None
    count = len(analysis.summaries)
    columns = min(2, count)
    rows = -(-count // columns)
    size = (1.6 + columns * max(2.4, 0.62 * len(radii)), rows * (0.9 + 0.32 * len(attacks)) + 0.4)
    figure = blank_figure(*size)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flatten()
    for axis, summary in zip(axes, analysis.summaries, strict=False):
        picture = _heat_panel(axis, summary, attacks, radii)
    for axis in axes[count:]:
        axis.set_visible(False)
    figure.colorbar(picture, ax=list(axes), label="success, %", shrink=0.8)
    figure.supxlabel("ε", fontsize=9.5)
    return Plot(
        f"heatmap_{analysis.threat}",
        analysis.threat,
        "Success under each attack at each radius, mean over seeds, for the chosen weight of each "
        "method. Darker is lower. The lowest cell of a column is what the curves show, if one "
        "attack is worst for every seed.",
        figure,
    )


def _heat_panel(axis: Any, summary: Summary, attacks: list[str], radii: list[float]) -> Any:
    table = np.full((len(attacks), len(radii)), np.nan)
    for row, attack in enumerate(attacks):
        for column, radius in enumerate(radii):
            values = [
                score.success
                for run in summary.runs
                for score in run.scores
                if score.attack == attack and score.epsilon == radius
            ]
            if values:
                table[row, column] = 100 * np.mean(values)
    picture = axis.imshow(table, cmap="cividis", vmin=0, vmax=100, aspect="auto")
    for row, column in zip(*np.nonzero(~np.isnan(table)), strict=True):
        value = table[row, column]
        colour = "white" if value < 55 else "black"
        axis.annotate(
            f"{value:.0f}", (column, row), ha="center", va="center", color=colour, fontsize=8
        )
    axis.set_title(wording.method_title(summary.method))
    axis.set_xticks(range(len(radii)), [f"{radius:g}" for radius in radii])
    axis.set_yticks(range(len(attacks)), attacks)
    axis.tick_params(labelbottom=True, labelleft=True)
    axis.grid(False)
    return picture


def learning_plot(_: Results, analysis: Analysis) -> Plot | None:
    """Course of the training, one panel for each figure that was kept."""
    found = [
        name
        for name in _CURVES
        if any(run.history.get(name) for item in analysis.summaries for run in item.runs)
    ]
    if not found:
        return None
    rows = -(-len(found) // 2)
    figure = blank_figure(8.2, 0.5 + 2.6 * rows)
    axes = figure.subplots(rows, 2, squeeze=False, sharex=True).flatten()
    for axis, name in zip(axes, found, strict=False):
        for summary in analysis.summaries:
            _course(axis, summary, name)
        axis.set_title(_CURVES[name])
        axis.tick_params(labelbottom=True)
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    for axis in axes[len(found) :]:
        axis.set_visible(False)
    figure.supxlabel("iteration", fontsize=9.5)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(4, len(labels)))
    return Plot(
        f"learning_{analysis.threat}",
        analysis.threat,
        "Course of the training: mean over seeds, the band from the lowest to the highest seed. "
        "Success is that of the training's own episodes: sampled actions, the training league, and "
        "under attack where the method trains under attack. It does not compare methods.",
        figure,
    )


def _course(axis: Any, summary: Summary, name: str) -> None:
    curves = [run.history[name] for run in summary.runs if run.history.get(name)]
    if not curves:
        return
    length = min(map(len, curves))
    values = np.array([curve[:length] for curve in curves]) * (100 if name == "success" else 1)
    steps = np.arange(1, length + 1)
    colour, marker, line = look(summary.method)
    axis.fill_between(steps, values.min(0), values.max(0), color=colour, alpha=0.12, linewidth=0)
    axis.plot(
        steps,
        values.mean(0),
        color=colour,
        linestyle=line,
        marker=marker,
        markersize=4,
        markevery=max(1, length // 8),
        label=wording.method_title(summary.method),
    )
