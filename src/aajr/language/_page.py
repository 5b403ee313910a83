"""A report on a language model as one HTML page without scripts or links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from aajr.language._findings import LIMITS, attack_table
from aajr.report.tables import Table

if TYPE_CHECKING:
    from aajr.language.report import LanguageReport, Trial
    from aajr.report.figures import Plot


def html_page(report: LanguageReport) -> str:
    """The page as a text; every string of the report is escaped.

    Raises:
        ImportError: without matplotlib or Jinja2.
    """
    try:
        from aajr.report.figures import drawn
        from aajr.report.pages import render
    except ImportError as error:
        raise ImportError("the page needs matplotlib and Jinja2: pip install 'aajr[rl]'") from error
    return render(
        "language/report.html",
        report=report,
        table=attack_table(report),
        plots=drawn(lambda: _plots(report)),
        transcripts=report.worst_transcripts(),
        left_out=_left_out(report),
        limits=LIMITS,
        cost={
            "time": f"{report.seconds:.0f} s, without parts that were finished before",
            **report.machine,
            "versions": report.versions,
        },
    )


def _left_out(report: LanguageReport) -> Table | None:
    if not report.left_out:
        return None
    return Table("What was left out", ("attack", "reason"), tuple(report.left_out.items()))


def _plots(report: LanguageReport) -> Iterator[Plot]:
    from aajr.report.figures import Plot

    yield Plot(
        "rates",
        "Attack success rate (circles) and utility (squares) under each attack, with 95 % "
        "intervals over cases. The dashed line is the utility without an attack.",
        _rates(report),
    )
    curves = _curves(report)
    if curves:
        yield Plot(
            "radius",
            "Attack success rate of the searches for the goal, and utility under the searches for "
            "a wrong answer, against the radius of the embedding attack.",
            _against_radius(curves),
        )


def _rates(report: LanguageReport) -> Any:
    from aajr.report.figures import arms, blank_figure
    from aajr.report.style import BLUE, GREY, ORANGE

    trials = report.attacks()
    figure = blank_figure(7.2, 1.2 + 0.28 * len(trials))
    axis = figure.add_subplot()
    looks = {"attack_success": ("o", ORANGE, -0.12), "utility": ("s", BLUE, 0.12)}
    for name, (marker, colour, shift) in looks.items():
        found = [getattr(trial, name) for trial in trials]
        axis.errorbar(
            [one.estimate for one in found],
            [index + shift for index in range(len(trials))],
            xerr=list(zip(*map(arms, found), strict=True)),
            fmt=marker,
            color=colour,
            label=name.replace("_", " "),
        )
    axis.axvline(report.utility.estimate, color=GREY, linestyle="--")
    axis.set_yticks(range(len(trials)), [trial.attack.replace("_", " ") for trial in trials])
    axis.set(xlabel="share of the cases", xlim=(-0.02, 1.02))
    axis.invert_yaxis()
    axis.legend()
    return figure


def _curves(report: LanguageReport) -> dict[str, dict[float, Trial]]:
    """Embedding attacks by aim and radius, if an aim has more than one radius."""
    found: dict[str, dict[float, Trial]] = {}
    for trial in report.attacks():
        if parts := re.fullmatch(r"embeddings_(goal|wrong)_([\d.e-]+)", trial.attack):
            found.setdefault(parts[1], {})[float(parts[2])] = trial
    return {aim: dict(sorted(line.items())) for aim, line in found.items() if len(line) > 1}


def _against_radius(curves: dict[str, dict[float, Trial]]) -> Any:
    from aajr.report.figures import arms, blank_figure, log_scale
    from aajr.report.style import BLUE, ORANGE

    figure = blank_figure(7.2, 3.6)
    axis = figure.add_subplot()
    looks = {
        "goal": ("attack_success", ORANGE, "attack success, searched for the goal"),
        "wrong": ("utility", BLUE, "utility, searched for a wrong answer"),
    }
    for aim, line in curves.items():
        name, colour, label = looks[aim]
        found = [getattr(trial, name) for trial in line.values()]
        axis.errorbar(
            list(line),
            [one.estimate for one in found],
            yerr=list(zip(*map(arms, found), strict=True)),
            marker="o",
            color=colour,
            label=label,
        )
    log_scale(axis.xaxis)
    axis.set(xlabel="radius ε, as a share of ‖e‖", ylabel="share of the cases", ylim=(-0.02, 1.02))
    axis.legend()
    return figure
