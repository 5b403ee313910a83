"""Plots of the MuJoCo study, built only from its raw results."""

from __future__ import annotations

from typing import Any

import numpy as np

from aajr.report.figures import Plot, arms, blank_figure, heat_map
from aajr.statistics.intervals import bootstrap
from aajr.studies.methods import look
from aajr.studies.mujoco._raw import (
    Record,
    agents_of,
    means_by_attack,
    natural_of,
    titles,
    worst_of,
)


def _agents_plot(results: Record) -> Plot:
    known = titles(results)
    figure = blank_figure(7.2, 1.2 + 0.36 * len(known))
    axis = figure.subplots()
    for row, name in enumerate(known):
        values = [worst_of(agent, results) for agent in agents_of(results, name)]
        colour, marker, _ = look(name)
        interval = bootstrap(values)
        spots = np.full(len(values), row) + np.linspace(-0.2, 0.2, len(values))
        axis.plot(values, spots, marker, color=colour, alpha=0.45, linestyle="none", ms=5)
        error = np.array([arms(interval)]).T
        axis.errorbar(interval.estimate, row + 0.32, xerr=error, fmt="D", color=colour, capsize=3)
    for other in results["published"]:
        axis.axvline(other["worst"], color="#999999", linewidth=0.9, linestyle=":")
    axis.set_yticks(range(len(known)), [*known.values()])
    axis.invert_yaxis()
    axis.set(xlabel="return under the worst of seven attacks")
    caption = (
        "Every agent under its worst attack; diamonds: interquartile mean and interval; dotted: "
        "published figures of other code, under fewer attacks."
    )
    return Plot("agents", caption, figure)


def _frontier_plot(results: Record) -> Plot:
    figure = blank_figure(7.2, 4.2)
    axis = figure.subplots()
    for name, title in titles(results).items():
        colour, marker, line = look(name)
        tried = sorted(results["choices"][name]["tried"], key=lambda entry: entry["value"])
        points = np.array([(entry["natural"], entry["worst"]) for entry in tried])
        axis.plot(*points.T, color=colour, linestyle=line, alpha=0.35, linewidth=1)
        agents = agents_of(results, name)
        pairs: Any = ([natural_of(a) for a in agents], [worst_of(a, results) for a in agents])
        middle = [bootstrap(values).estimate for values in pairs]
        axis.plot(*middle, marker, color=colour, linestyle="none", ms=8, label=title)
    axis.set(xlabel="natural return", ylabel="return under the worst attack")
    axis.legend(fontsize="x-small", frameon=False, ncols=2)
    caption = (
        "Natural return and return under the worst of seven, interquartile means of the final "
        "agents; lines: all candidates on the validation seeds, under fewer and shorter attacks."
    )
    return Plot("frontier", caption, figure)


def _attacks_plot(results: Record) -> Plot:
    names = list(results["agents"][0]["returns"])
    grid = means_by_attack(results, names)
    known = titles(results)
    figure = blank_figure(9.6, 1.6 + 0.34 * len(known))
    axis = figure.subplots()
    solved = results["protocol"]["solved"]
    heat_map(
        axis,
        grid,
        [*known.values()],
        [name.replace("_", " ") for name in names],
        largest=max(solved, grid.max()),
        bright=0.6 * solved,
        rotation=35,
    )
    return Plot("attacks", "Interquartile mean of the return by method and attack.", figure)


PLOTS = (_agents_plot, _frontier_plot, _attacks_plot)
