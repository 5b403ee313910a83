"""The plots of a report: return and success against ε."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle
from typing import TYPE_CHECKING, Any

from aajr.arena.records.evaluation import CLEAN
from aajr.report.figures import Plot, arms, blank_figure, drawn
from aajr.report.style import AMBER, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY
from aajr.statistics.intervals import Interval

if TYPE_CHECKING:
    from aajr.arena.reports.report import Report

Value = Callable[[str, float], Interval]
"""Function from an attack and its ε to a figure."""

_LOOKS = [(c, d) for d in ("-", "--", ":", "-.") for c in (BLUE, GREEN, PURPLE, SKY, AMBER, GREY)]


def draw(report: Report) -> list[Plot]:
    """All plots of a report."""
    return drawn(lambda: _plots(report))


def _plots(report: Report) -> Iterator[Plot]:
    over = "the agents" if len(report.agents) > 1 else "the episodes"
    yield Plot(
        "returns",
        f"Mean return under each attack against ε, with the 95 % interval over {over}. The thick "
        "line is the lowest of all attacks within ε; the dashed grey line is uniformly random "
        "actions.",
        _figure(report, "mean return", report.mean_return, report.random_return),
    )
    if report.wins:
        yield Plot(
            "success",
            "Share of the episodes that were won under each attack against ε.",
            _figure(report, "share of episodes won", lambda a, e: _share(report, a, e), None),
        )


def _share(report: Report, attack: str, epsilon: float) -> Interval:
    share = report.success(attack, epsilon)
    return Interval(0.0 if share is None else share, None, None, len(report.agents))


def _figure(report: Report, label: str, value: Value, floor: float | None) -> Any:
    figure = blank_figure(7.2, 4.2)
    axis = figure.add_subplot()
    axis.set(xlabel=f"ε, {report.unit}", ylabel=label)
    radii, clean = [epsilon for epsilon in report.epsilons if epsilon > 0], value(CLEAN, 0.0)
    lines = {attack: {0.0: clean} | _line(attack, radii, value) for attack in report.attacks}
    for (attack, line), (colour, dashes) in zip(lines.items(), cycle(_LOOKS), strict=False):
        axis.errorbar(
            list(line),
            [interval.estimate for interval in line.values()],
            yerr=list(zip(*map(arms, line.values()), strict=True)),
            label=attack.replace("_", " "),
            color=colour,
            linestyle=dashes,
            linewidth=1.1,
            elinewidth=0.7,
            capsize=2,
        )
    within = [
        min(
            [
                clean.estimate,
                *(v.estimate for line in lines.values() for e, v in line.items() if e <= r),
            ]
        )
        for r in (0.0, *radii)
    ]
    axis.plot(
        [0.0, *radii],
        within,
        color=ORANGE,
        linewidth=3,
        alpha=0.6,
        zorder=1,
        label="worst within ε",
    )
    if floor is not None:
        axis.axhline(floor, color=GREY, linestyle="--", linewidth=0.8)
    axis.set_xlim(left=0)
    figure.legend(loc="outside lower center", ncols=4, fontsize=8)
    return figure


def _line(attack: str, radii: list[float], value: Value) -> dict[float, Interval]:
    """The values of an attack at the radii where it was run."""
    found = {}
    for epsilon in radii:
        try:
            found[epsilon] = value(attack, epsilon)
        except ValueError:
            continue
    return found
