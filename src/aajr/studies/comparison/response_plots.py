"""Plot how the policies of a comparison, the mean and the median respond to a lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aajr.report.figures import Plot, blank_figure
from aajr.studies.comparison.analysis import SUBJECT, Analysis
from aajr.studies.comparison.records import Results, Run
from aajr.studies.methods import look, method_title
from aajr.studies.responses import ESTIMATES, draw_responses

_LABELS = {
    "belief": "believed shift of the reported place",
    "angle": "change of the actions (Fisher)",
}
_ESTIMATES = {f"{name} of the reports": name for name in ESTIMATES}


def response_plot(_: Results, analysis: Analysis) -> Plot | None:
    """Plot the response to a lie of growing size, one curve for each method and estimate."""
    shown = {
        item.method: [run for run in item.runs if run.response]
        for item in analysis.summaries
        if any(run.response for run in item.runs)
    }
    if not shown:
        return None
    figure = blank_figure(9.2, 4.2)
    first = next(iter(shown.values()))
    names = {method_title(method): method for method in shown}

    def line(title: str) -> tuple[str, str]:
        if title in _ESTIMATES:
            return "#000000", "-" if title.startswith("median") else ":"
        colour, _, style = look(names[title])
        return colour, style

    axes = figure.subplots(1, len(_LABELS))
    for axis, (kind, label) in zip(axes, _LABELS.items(), strict=True):
        curves = {method_title(method): _means(runs, kind) for method, runs in shown.items()}
        if kind == "belief":
            curves |= {title: _means(first, name) for title, name in _ESTIMATES.items()}
        sizes = first[0].response["lie"]
        draw_responses(axis, sizes, curves, line, method_title(SUBJECT), analysis.epsilon)
        axis.set_ylabel(label)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)
    return Plot(
        f"response_{analysis.threat}",
        "The response to a lie that k sources tell alike. Left: the common shift of all reports "
        "that gives the nearest output; right: the distance of the action distributions. Dotted: "
        "the reference ε. Means over visited states and seeds, for the chosen weight.",
        figure,
    )


def _means(runs: Sequence[Run], name: str) -> list[float]:
    means: list[float] = np.mean([run.response[name] for run in runs], axis=0).tolist()
    return means
