"""Plots of the study, built only from its raw results."""

from __future__ import annotations

from typing import Any

from aajr.report.figures import Plot, blank_figure
from aajr.report.style import AMBER, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY
from aajr.studies.consensus._gather import Record, responses_of
from aajr.studies.consensus._methods import METHODS
from aajr.studies.consensus._study import means_by_weight
from aajr.studies.responses import draw_responses

_LOOKS = {
    "plain": ("#999999", ":"),
    "lies": ("#999999", "-."),
    "adversarial": (GREY, "-"),
    "one_step": (GREY, "--"),
    "mean": ("#000000", ":"),
    "median": ("#000000", "-"),
    "aajr": (BLUE, "-"),
    "aajr_clean": (BLUE, "--"),
    "random": (GREEN, "-"),
    "random_clean": (GREEN, "--"),
    "spoofed": (AMBER, "-"),
    "spoofed_clean": (AMBER, "--"),
    "reports": (ORANGE, "-"),
    "reports_clean": (ORANGE, "--"),
    "all": (ORANGE, "-."),
    "all_clean": (ORANGE, ":"),
    "sa": (PURPLE, "-"),
    "spectral": (SKY, "-"),
    "input_gradient": (SKY, "--"),
}
_NAMES = {method.title: name for name, method in METHODS.items()}


def response_plot(results: Record) -> Plot:
    """Plot every method's response to a lie of growing size."""
    cases = results["cases"]
    figure = blank_figure(9.2, 0.6 + 3.6 * len(cases))
    grid = figure.subplots(len(cases), 2, squeeze=False)
    sizes = results["settings"]["examination"]["lies"]
    epsilon = results["settings"]["budget"]["epsilon"]
    for row, case in zip(grid, cases, strict=True):
        labels = ("believed shift of the position", "change of the output (Fisher)")
        for axis, kind, label in zip(row, ("belief", "fisher"), labels, strict=True):
            curves, front = responses_of(case, kind), METHODS["aajr"].title
            draw_responses(axis, sizes, curves, _look, front, epsilon)
            axis.set(ylabel=label, title=_named(case))
    _legend(figure, grid[0, 0])
    caption = (
        "The response to a lie. Left: the common shift of all reports that gives the nearest "
        "output; right: the angle between the output distributions. Dotted: the ε of training. "
        "Means over samples and seeds."
    )
    return Plot("response", caption, figure)


def frontier_plot(results: Record) -> Plot:
    """Plot clean against worst accuracy over the weights that were tried."""
    cases = results["cases"]
    figure = blank_figure(9.2, 0.6 + 3.4 * len(cases))
    grid = figure.subplots(len(cases), 1, squeeze=False)
    for (axis,), case in zip(grid, cases, strict=True):
        for name, tried in case["validation"].items():
            means = list(means_by_weight(tried).values())
            colour, line = _LOOKS[name]
            clean, worst = [m["clean"] for m in means], [m["worst"] for m in means]
            size = 4 if METHODS[name].weights else 9
            axis.plot(clean, worst, "o" + line, color=colour, ms=size, label=METHODS[name].title)
        axis.set(xlabel="clean accuracy, %", ylabel="worst accuracy, %", title=_named(case))
    _legend(figure, grid[0, 0])
    caption = "Every weight on the validation seeds, at the ε of training. Up and right is best."
    return Plot("frontiers", caption, figure)


def epsilon_plot(results: Record) -> Plot:
    """Plot worst accuracy against ε, the bound of the lies."""
    cases = results["cases"]
    figure = blank_figure(9.2, 0.6 + 3.4 * len(cases))
    grid = figure.subplots(len(cases), 1, squeeze=False)
    epsilons = results["settings"]["examination"]["epsilons"]
    places = range(len(epsilons) + 2)
    for (axis,), case in zip(grid, cases, strict=True):
        for m in case["methods"]:
            colour, line = _LOOKS[m["method"]]
            means = [sum(values) / len(values) for values in (m["clean"], *m["worst"])]
            axis.plot(places, means, line, color=colour, label=METHODS[m["method"]].title)
        axis.set_xticks(places, ["none", *(f"{e:g}" for e in epsilons), "any"])
        axis.set(xlabel="greatest lie ε", ylabel="worst accuracy, %", title=_named(case))
    _legend(figure, grid[0, 0])
    caption = "Accuracy under the worst coalition against the greatest lie, mean over the seeds."
    return Plot("epsilon", caption, figure)


def _look(title: str) -> tuple[str, str]:
    if title in _NAMES:
        return _LOOKS[_NAMES[title]]
    return ("#CC3311", "-") if title.startswith("median") else ("#CC3311", ":")


def _legend(figure: Any, axis: Any) -> None:
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)


def _named(case: Record) -> str:
    return f"{case['liars']} of {case['reports']} lie"
