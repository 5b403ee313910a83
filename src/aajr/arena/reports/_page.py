"""A report as one HTML page without scripts or links."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aajr.arena.reports._findings import LIMITS
from aajr.arena.reports._tables import (
    attack_table,
    check_table,
    learning_of,
    left_out_table,
    title,
)
from aajr.report.wording import listed, plural

if TYPE_CHECKING:
    from aajr.arena.reports.report import Report


def html_page(report: Report) -> str:
    """The page as a text; every string of the report is escaped.

    Raises:
        ImportError: without matplotlib or Jinja2.
    """
    try:
        from aajr.arena.reports._plots import draw
        from aajr.report.pages import render
    except ImportError as error:
        raise ImportError("the page needs matplotlib and Jinja2: pip install 'aajr[rl]'") from error
    return render(
        "arena/report.html",
        name=title(report),
        report=report,
        table=attack_table(report),
        checks=check_table(report),
        left_out=left_out_table(report),
        plots=draw(report),
        subject=subject(report),
        cost=_cost(report),
        limits=LIMITS,
        film_words=film_words(report),
    )


def film_words(report: Report) -> str:
    """The caption of the film or of the traces."""
    attack = f"{report.worst.attack.replace('_', ' ')} at ε = {report.worst.epsilon:g}"
    one = "The episode whose return falls most"
    if report.film.startswith("data:image/gif"):
        return f"{one}: without an attack on the left, under {attack} on the right."
    traces = "what the environment showed, and what the agent saw"
    if report.environment.get("threat") == "actions":
        traces = "what the agent chose (true), and what it did (shown)"
    return f"{one}, under {attack}: {traces}."


def subject(report: Report) -> dict[str, Any]:
    """What was attacked, with which ball and in which unit."""
    ball = report.ball
    features = "all" if ball["features"] is None else listed(list(map(str, ball["features"])))
    parts = {
        "agent": "; ".join(one.assessment.checkpoint for one in report.agents),
        **report.environment,
        "return that wins an episode": report.threshold,
        "ε": f"{report.epsilon:g}, {report.unit}",
        "attackable features": features,
        "scale of the ball": ball["scale"],
        "least valid input": ball["low"],
        "greatest valid input": ball["high"],
        "radii": report.epsilons,
        "episodes of each trial": report.episodes,
        "seed": report.seed,
        "suite": f"{report.suite['name']}, version {report.suite['version']}",
    }
    return {name: value for name, value in parts.items() if value is not None}


def _cost(report: Report) -> dict[str, Any]:
    trials = [t for one in report.agents for t in one.assessment.trials]
    seconds = sum(t.seconds + t.preparation_seconds for t in trials)
    learning = learning_of(report)
    return {
        "trials": plural(len(trials), "trial") + f", {seconds:.0f} s",
        "whole examination": f"{report.seconds:.0f} s, without parts that were finished before",
        "effort of the attacks": report.suite["effort"],
        **({"how attackers learned": learning} if learning else {}),
        **report.machine,
        "versions": report.versions,
    }
