"""Plots of the training: learning curves, gradients, cost, and the final sensitivity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from aajr.report.figures import Plot, blank_figure
from aajr.studies.comparison.analysis import Analysis, Summary
from aajr.studies.comparison.records import Results, Run
from aajr.studies.methods import look, method_title

_CURVES = {
    "success": "success in training, %",
    "return": "return",
    "gradient_norm": "‖gradient‖ of the parameters",
    "inner_gradient_norm": "‖gradient‖ of the adversary",
}


def learning_plot(_: Results, analysis: Analysis) -> Plot | None:
    """Plot the learning curves, one panel for each recorded metric."""
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
        label=method_title(summary.method),
    )


def gradient_plot(results: Results, analysis: Analysis) -> Plot | None:
    """Plot mean, variance and maximum over median of the parameters' gradient norm."""
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
    """Plot the alignment ratio and the stable rank."""
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
    """Plot the time of an update, labelled with the overhead over the adversarial method."""
    timed = [(s, t) for s in analysis.summaries if (t := s.average("seconds_per_update"))]
    if not timed:
        return None
    figure = blank_figure(6.4, 0.9 + 0.34 * len(timed))
    axis = figure.subplots()
    for index, (summary, seconds) in enumerate(timed):
        axis.barh(index, 1000 * seconds, height=0.6, color=look(summary.method)[0], alpha=0.85)
        overhead = summary.average("overhead")
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
        "Median time of an update, mean over seeds; in brackets the overhead over the adversarial "
        "method, measured interleaved.",
        figure,
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
    return Plot(f"{name}_{analysis.threat}", caption, figure)


def _widen(axis: Any) -> None:
    """Use a logarithmic axis if values differ by more than a factor of 20, else start at zero."""
    values = [value for line in axis.lines for value in line.get_xdata()]
    if values and min(values) > 0 and max(values) > 20 * min(values):
        axis.set_xscale("log")
        return
    axis.set_xlim(left=0)


def _name_rows(axis: Any, summaries: Sequence[Summary]) -> None:
    axis.set_yticks(range(len(summaries)), [method_title(item.method) for item in summaries])
    axis.set_ylim(len(summaries) - 0.4, -0.6)
    axis.grid(False, axis="y")
