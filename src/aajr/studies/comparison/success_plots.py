"""Plots of success under attack: the worst case against ε, and each attack on its own."""

from __future__ import annotations

from statistics import fmean
from typing import Any

import numpy as np

from aajr.report.figures import Plot, arms, blank_figure, heat_map
from aajr.studies.comparison import verdicts
from aajr.studies.comparison.analysis import SUBJECT, Analysis, Summary
from aajr.studies.comparison.records import Results
from aajr.studies.methods import look, method_title


def success_plot(results: Results, analysis: Analysis) -> Plot | None:
    """Plot worst-case success against the radius, with intervals, and the floors."""
    summaries = [summary for summary in analysis.summaries if len(summary.worst) > 1]
    if not summaries:
        return None
    figure = blank_figure(7.2, 4.2)
    axis = figure.subplots()
    span = max(analysis.radii) - min(analysis.radii)
    for index, summary in enumerate(summaries):
        shift = 0.008 * span * (index - (len(summaries) - 1) / 2)
        _success_line(axis, summary, shift)
    for index, (name, heights) in enumerate(_floors(results).items()):
        _floor_line(axis, name, 100 * fmean(heights), index)
    highest = max(interval.estimate for s in summaries for interval in s.worst.values())
    axis.set(ylim=(0, min(100, 100 * highest + 8)), xlabel="ε", ylabel="worst-case success, %")
    axis.set_xticks(analysis.radii, [f"{radius:g}" for radius in analysis.radii])
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), handlelength=2.6)
    return Plot(
        f"success_{analysis.threat}",
        "Success under the worst attack at each radius: interquartile mean over seeds with its "
        f"95 % interval. {verdicts.epsilon_sentence(analysis)}",
        figure,
    )


def _success_line(axis: Any, summary: Summary, shift: float) -> None:
    colour, marker, line = look(summary.method)
    radii = sorted(summary.worst)
    intervals = [summary.worst[radius] for radius in radii]
    heights = np.array([100 * interval.estimate for interval in intervals])
    spread = np.array([arms(interval) for interval in intervals]).T
    front = summary.method == SUBJECT
    axis.errorbar(
        np.array(radii) + shift,
        heights,
        yerr=100 * spread,
        label=method_title(summary.method),
        color=colour,
        marker=marker,
        linestyle=line,
        markersize=6,
        markeredgecolor="white",
        linewidth=2.4 if front else 1.4,
        elinewidth=1,
        capsize=0,
        zorder=4 if front else 3,
    )


def _floors(results: Results) -> dict[str, list[float]]:
    """Clean success of the agents that do not read reports, of every seed, by their names."""
    found: dict[str, list[float]] = {}
    for run in results.floors:
        if 0.0 in run.worst_case():
            found.setdefault(run.method, []).append(run.worst_case()[0.0])
    return found


def _floor_line(axis: Any, name: str, height: float, index: int) -> None:
    axis.axhline(height, color="#999999", linewidth=0.9, linestyle=(0, (1, 3)))
    axis.annotate(
        name,
        (0.01 + 0.14 * index, height),
        xycoords=("axes fraction", "data"),
        xytext=(0, 2),
        textcoords="offset points",
        fontsize=8,
        color="#666666",
    )


def heatmap_plot(_: Results, analysis: Analysis) -> Plot | None:
    """Plot success under each attack at each radius: a panel for each method."""
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
    picture = heat_map(axis, table, attacks, [f"{radius:g}" for radius in radii])
    axis.set_title(method_title(summary.method))
    axis.tick_params(labelbottom=True, labelleft=True)
    return picture
