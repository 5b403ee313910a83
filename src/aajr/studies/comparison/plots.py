"""Plots of a comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.ticker import MaxNLocator

from aajr.report import wording
from aajr.report.figures import Plot, arms, blank_figure, settle
from aajr.report.style import STYLE, look
from aajr.statistics.frontiers import Comparison, mean_points, pareto
from aajr.studies.comparison import verdicts
from aajr.studies.comparison.analysis import SUBJECT, Analysis, Summary
from aajr.studies.comparison.attack_and_training_plots import heatmap_plot, learning_plot
from aajr.studies.comparison.families import SHARED_METHOD, family_points
from aajr.studies.comparison.records import Results, Run
from aajr.studies.comparison.worst_cases import worst_case


def draw(results: Results, analyses: Sequence[Analysis]) -> list[Plot]:
    """Every plot for which the results hold data, threat by threat."""
    drawers: Sequence[Callable[[Results, Analysis], Plot | None]] = (
        frontier_plot,
        success_plot,
        heatmap_plot,
        learning_plot,
        gradient_plot,
        sensitivity_plot,
        cost_plot,
    )
    found = []
    with matplotlib.rc_context(STYLE):
        for analysis in analyses:
            found += [plot for drawer in drawers if (plot := drawer(results, analysis)) is not None]
        settle(found)
    return found


def frontier_plot(results: Results, analysis: Analysis) -> Plot | None:
    """Clean against worst-case success: a panel for each pair of families."""
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
        analysis.threat,
        "Clean against worst-case success over all weights: small marks are seeds, large ones the "
        "mean of a weight, the line is the frontier of these means, the grey square is weight 0. "
        "Higher at the same clean success is better. The verdict pairs the frontiers by seed.",
        figure,
    )


def success_plot(results: Results, analysis: Analysis) -> Plot | None:
    """Worst-case success against the radius, with intervals, and the floors."""
    summaries = [summary for summary in analysis.summaries if len(summary.worst) > 1]
    if not summaries:
        return None
    figure = blank_figure(7.2, 4.2)
    axis = figure.subplots()
    span = max(analysis.radii) - min(analysis.radii)
    for index, summary in enumerate(summaries):
        shift = 0.008 * span * (index - (len(summaries) - 1) / 2)
        _success_line(axis, summary, shift)
    for run in results.floors:
        if 0.0 in worst_case(run):
            _floor_line(axis, run.method, 100 * worst_case(run)[0.0])
    highest = max(interval.estimate for s in summaries for interval in s.worst.values())
    axis.set(ylim=(0, min(100, 100 * highest + 8)), xlabel="ε", ylabel="worst-case success, %")
    axis.set_xticks(analysis.radii, [f"{radius:g}" for radius in analysis.radii])
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), handlelength=2.6)
    return Plot(
        f"success_{analysis.threat}",
        analysis.threat,
        "Success under the worst attack at each radius: interquartile mean over seeds with its "
        f"95 % interval. {verdicts.epsilon_sentence(analysis)}",
        figure,
    )


def gradient_plot(results: Results, analysis: Analysis) -> Plot | None:
    """Mean, variance and largest over median of the parameters' gradient."""
    names = {"mean": "mean norm", "variance": "variance", "largest_over_median": "max / median"}
    panels = [
        (title, lambda run, name=name: run.gradient_norm.get(name)) for name, title in names.items()
    ]
    return _dots(
        analysis,
        panels,
        "gradients",
        "Norm of the parameters' gradient over the updates: small marks are "
        "seeds, large ones their mean. A large ratio of maximum to median is a spike.",
    )


def sensitivity_plot(results: Results, analysis: Analysis) -> Plot | None:
    """Alignment ratio and stable rank."""
    panels = [
        ("alignment ‖Jv‖²/‖J‖²_F", lambda run: run.diagnostics.get("alignment")),
        ("stable rank ‖J‖²_F/‖J‖²₂", lambda run: run.diagnostics.get("stable_rank")),
    ]
    plot = _dots(
        analysis,
        panels,
        "sensitivity",
        "Share of the policy's sensitivity that lies along the adversary's direction, and stable "
        "rank of the Jacobian. Left of the dashed line, at a rank below 2, no directional penalty "
        "can differ much from a global one.",
    )
    if plot is not None:
        plot.figure.axes[0].set_xlim(0, 1)
        rank = plot.figure.axes[1]
        rank.set_xlim(1, max(2.2, rank.get_xlim()[1]))
        rank.axvline(2, color="#666666", linestyle="--", linewidth=1)
    return plot


def cost_plot(results: Results, analysis: Analysis) -> Plot | None:
    """Time of an update, labelled with the overhead over the adversarial method."""
    timed = [(s, t) for s in analysis.summaries if (t := s.average_of("seconds_per_update"))]
    if not timed:
        return None
    figure = blank_figure(6.4, 0.9 + 0.34 * len(timed))
    axis = figure.subplots()
    for index, (summary, seconds) in enumerate(timed):
        axis.barh(index, 1000 * seconds, height=0.6, color=look(summary.method)[0], alpha=0.85)
        overhead = summary.average_of("overhead")
        percent = "" if overhead is None else f" ({100 * (overhead - 1):+.1f} %)"
        label = f"{1000 * seconds:.3g}{percent}".replace("-", "−")
        axis.annotate(
            label, (1000 * seconds, index), (4, 0), textcoords="offset points", va="center"
        )
    _name_rows(axis, [summary for summary, _ in timed])
    axis.set_xlim(0, 1280 * max(seconds for _, seconds in timed))
    axis.set_xlabel("milliseconds per update (overhead over adversarial)")
    return Plot(
        f"cost_{analysis.threat}",
        analysis.threat,
        "Median time of an update, mean over seeds; in brackets the overhead over the adversarial "
        "method, measured interleaved.",
        figure,
    )


def _frontier_panel(axis: Any, analysis: Analysis, comparison: Comparison) -> None:
    for family in (comparison.second, comparison.first):
        colour, marker, _ = look(family)
        points = family_points(analysis.runs, family, analysis.epsilon)
        means = mean_points([p for found in points.values() for p in found])
        own = [p for found in points.values() for p in found if p.weight > 0]
        axis.scatter(
            [100 * p.clean for p in own],
            [100 * p.worst for p in own],
            s=13,
            marker=marker,
            color=colour,
            alpha=0.4,
            linewidths=0,
        )
        front = pareto(means)
        axis.plot(
            [100 * p.clean for p in front],
            [100 * p.worst for p in front],
            color=colour,
            linewidth=1.8,
            zorder=3,
        )
        axis.plot(
            [100 * p.clean for p in means],
            [100 * p.worst for p in means],
            marker,
            color=colour,
            markersize=7.5,
            markeredgecolor="white",
            zorder=4,
            label=wording.method_title(family),
        )
    _shared_end(axis, analysis)
    verdict = f"{comparison.verdict.value}, {wording.difference(comparison.difference)}"
    names = [wording.method_title(family) for family in (comparison.first, comparison.second)]
    axis.set_title(f"{' − '.join(names)}\n{verdict}", fontsize=9)
    axis.tick_params(labelbottom=True, labelleft=True)
    axis.legend(loc="best", fontsize=8.5, handletextpad=0.3)


def _shared_end(axis: Any, analysis: Analysis) -> None:
    colour, marker, _ = look(SHARED_METHOD)
    curves = [worst_case(run) for run in analysis.runs if run.method == SHARED_METHOD]
    ends = [(c[0.0], c[analysis.epsilon]) for c in curves if {0.0, analysis.epsilon} <= c.keys()]
    if ends:
        clean, worst = 100 * np.array(ends).T
        axis.scatter(clean, worst, s=13, marker=marker, color=colour, alpha=0.4, linewidths=0)
        axis.plot(
            clean.mean(),
            worst.mean(),
            marker,
            color=colour,
            markersize=7.5,
            markeredgecolor="white",
            zorder=5,
            label="λ = 0",
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
        label=wording.method_title(summary.method),
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


def _floor_line(axis: Any, name: str, height: float) -> None:
    axis.axhline(height, color="#999999", linewidth=0.9, linestyle=(0, (1, 3)))
    axis.annotate(
        name,
        (0.01, height),
        xycoords=("axes fraction", "data"),
        xytext=(0, 2),
        textcoords="offset points",
        fontsize=8,
        color="#666666",
    )


def _dots(
    analysis: Analysis,
    panels: Sequence[tuple[str, Callable[[Run], float | None]]],
    name: str,
    caption: str,
) -> Plot | None:
    shown = [s for s in analysis.summaries if any(panels[0][1](run) is not None for run in s.runs)]
    if not shown:
        return None
    figure = blank_figure(2.6 + 2.5 * len(panels), 0.9 + 0.34 * len(shown))
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axis, (title, measure) in zip(axes, panels, strict=True):
        for index, summary in enumerate(shown):
            values = [value for run in summary.runs if (value := measure(run)) is not None]
            if not values:
                continue
            colour, marker, _ = look(summary.method)
            axis.scatter(values, [index] * len(values), s=16, color=colour, alpha=0.4, linewidths=0)
            axis.plot(
                np.mean(values), index, marker, color=colour, markersize=8, markeredgecolor="white"
            )
        axis.set_title(title)
        axis.xaxis.set_major_locator(MaxNLocator(5))
        _widen(axis)
    _name_rows(axes[0], shown)
    return Plot(f"{name}_{analysis.threat}", analysis.threat, caption, figure)


def _widen(axis: Any) -> None:
    """Logarithmic axis where values differ by more than a factor of twenty, else from zero."""
    values = [value for line in axis.lines for value in line.get_xdata()]
    if values and min(values) > 0 and max(values) > 20 * min(values):
        axis.set_xscale("log")
        return
    axis.set_xlim(left=0)


def _name_rows(axis: Any, summaries: Sequence[Summary]) -> None:
    axis.set_yticks(
        range(len(summaries)), [wording.method_title(item.method) for item in summaries]
    )
    axis.set_ylim(len(summaries) - 0.4, -0.6)
    axis.grid(False, axis="y")
