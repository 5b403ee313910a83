"""Tables and plots of the study, built only from its raw results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rich.text import Text

from aajr.arena.records.evaluation import Score
from aajr.arena.threats import FARTHEST
from aajr.report import wording
from aajr.report.figures import Plot, blank_figure
from aajr.report.study import StudyReport
from aajr.report.tables import Table
from aajr.report.wording import with_interval
from aajr.statistics.frontiers import Point, mean_points, pareto
from aajr.statistics.intervals import bootstrap
from aajr.studies.comparison import verdicts
from aajr.studies.comparison.analysis import SHARED_METHOD, Analysis, analyse, family_points
from aajr.studies.comparison.grids import PRIMARY
from aajr.studies.comparison.records import Results, Run
from aajr.studies.comparison.tables import differences_table, sensitivity_table
from aajr.studies.methods import look, method_title

Record = dict[str, Any]


def records(results: Record) -> Results:
    """The raw results as those of a comparison, where success is the share of unhurt vehicles."""
    names = set(Score.__dataclass_fields__)
    runs = tuple(
        Run(
            **{name: run[name] for name in ("method", "seed", "split", "family", "weight")},
            threat="reports",
            selected=run["selected"] and run["weight"] is not None,
            scores=tuple(Score(**_only(names, score)) for score in run["scores"]),
            diagnostics=run["diagnostics"],
            critic_r2=tuple(run["critic_r2"]),
        )
        for run in results["runs"]
    )
    epsilon = results["settings"]["adversary"]["epsilon"]
    return Results(preset="fleet", runs=runs, reference_epsilon=epsilon, primary=PRIMARY)


def headline(results: Record) -> Text:
    """The conclusion of the comparison of frontiers, in a sentence."""
    return Text(verdicts.conclusion(_analysis(results))[0], style="bold")


def tables(results: Record) -> list[Table]:
    """Unhurt vehicles, collisions, frontiers, paired differences and sensitivities."""
    analysis = _analysis(results)
    return [
        _unhurt_table(results),
        _collisions_table(results),
        *([_frontier_table(analysis)] if analysis.comparisons else []),
        differences_table(analysis),
        sensitivity_table(analysis),
    ]


def _unhurt_table(results: Record) -> Table:
    def cells(runs: Sequence[Record], epsilon: float) -> str:
        return _interval(min(s["success"] for s in _at(run, epsilon)) for run in runs)

    def zeroed(runs: Sequence[Record]) -> str:
        return _interval(run["zeroed"] for run in runs)

    episodes, vehicles = results["settings"]["episodes"], results["settings"]["world"]["vehicles"]
    return _by_method(
        results,
        "Vehicles that arrive unhurt, in %, lowest over the attacks",
        cells,
        {"reports\nzeroed": zeroed},
        f"Interquartile mean over the final seeds with its bootstrap interval; {episodes} episodes "
        f"of {vehicles} vehicles for every attack. Unhurt: arrived, and never collided. Reports "
        "zeroed: who does as well with true reports does not follow them.",
    )


def _collisions_table(results: Record) -> Table:
    def cells(runs: Sequence[Record], epsilon: float) -> str:
        return _interval(max(s["collided"] for s in _at(run, epsilon)) for run in runs)

    def attack(runs: Sequence[Record]) -> str:
        epsilon = results["settings"]["adversary"]["epsilon"]
        worst = [min(_at(run, epsilon), key=lambda s: s["success"])["attack"] for run in runs]
        return max(dict.fromkeys(worst), key=worst.count)

    return _by_method(
        results,
        "Vehicles that collide at least once, in %, highest over the attacks",
        cells,
        {"worst attack": attack},
        "Worst attack: the one that most often left the fewest unhurt at the ε of training.",
    )


def _by_method(
    results: Record,
    title: str,
    cells: Callable[[Sequence[Record], float], str],
    further: dict[str, Callable[[Sequence[Record]], str]],
    note: str,
) -> Table:
    """A table with one row for each method: its final runs, clean and at every ε."""
    epsilons = (0.0, *results["settings"]["epsilons"])
    chosen: dict[str, list[Record]] = {}
    for run in results["runs"]:
        if run["selected"] and run["split"] == "final":
            chosen.setdefault(run["method"], []).append(run)
    rows = tuple(
        (
            method_title(name),
            wording.weight(runs[0]["weight"]),
            *(cells(runs, epsilon) for epsilon in epsilons),
            *(cell(runs) for cell in further.values()),
        )
        for name, runs in chosen.items()
    )
    columns = ("method", "λ", *map(_bound, epsilons), *further)
    return Table(title, columns, rows, (note,))


def _frontier_table(analysis: Analysis) -> Table:
    rows = tuple(
        (
            method_title(item.second),
            item.verdict.value,
            wording.difference(item.difference, "\n"),
            wording.MISSING if item.chance is None else f"{item.chance:.2g}",
            _corrected(analysis, item.second),
        )
        for item in analysis.comparisons
    )
    note = (
        f"Unhurt vehicles in the worst case at ε = {analysis.epsilon:g}, in points, at matched "
        f"clean success, mean over the paired {analysis.frontier_split} seeds with its bootstrap "
        "interval. p: exact sign-flip test, then with Holm's correction. With five seeds p is "
        "never below .0625."
    )
    columns = ("AAJR's frontier\nbeside", "verdict", "difference", "p", "corrected")
    return Table("Frontiers over all weights", columns, rows, (note,))


def _corrected(analysis: Analysis, rival: str) -> str:
    found = analysis.corrected.get(rival)
    return wording.MISSING if found is None else f"{found:.2g}"


def frontier_plot(results: Record) -> Plot:
    """Plot clean against worst-case success of every weight, and the frontiers of their means."""
    analysis = _analysis(results)
    figure = blank_figure(6.8, 4.8)
    axis = figure.subplots()
    for method in dict.fromkeys(run.method for run in analysis.runs):
        runs = [run for run in analysis.runs if run.method == method]
        family, epsilon = runs[0].family, analysis.epsilon
        means = mean_points([_point(run, epsilon) for run in runs])
        colour, marker, line = look(method)
        if family is not None:
            points = family_points(analysis.runs, family, epsilon).values()
            front = pareto(mean_points([point for found in points for point in found]))
            axis.plot(*_percent(front), line, color=colour, linewidth=1.5)
        axis.plot(*_percent(means), marker, color=colour, ms=7, label=method_title(method))
    axis.set(
        xlabel="unhurt without an attack, %",
        ylabel=f"unhurt in the worst case at ε = {analysis.epsilon:g}, %",
    )
    axis.legend(fontsize=8, loc="best")
    caption = (
        "Every weight, mean over the seeds; lines: the frontier of a penalty with adversarial "
        f"training ({method_title(SHARED_METHOD)}) as its weight zero. Up and right is best."
    )
    return Plot("frontiers", caption, figure)


def epsilon_plot(results: Record) -> Plot:
    """Plot the worst case of every method against ε, the bound of the lies."""
    figure = blank_figure(6.8, 4.4)
    axis = figure.subplots()
    for summary in _analysis(results).summaries:
        colour, marker, line = look(summary.method)
        heights = [100 * interval.estimate for interval in summary.worst.values()]
        label, places = method_title(summary.method), range(len(heights))
        axis.plot(places, heights, line, marker=marker, color=colour, label=label)
    bounds = [_bound(epsilon) for epsilon in (0.0, *results["settings"]["epsilons"])]
    axis.set_xticks(range(len(bounds)), bounds)
    axis.set(xlabel="greatest lie", ylabel="unhurt in the worst case, %", ylim=(0, None))
    axis.legend(fontsize=8, loc="best")
    caption = "Vehicles that arrive unhurt under the worst attack, at the chosen weights."
    return Plot("epsilon", caption, figure)


def _analysis(results: Record) -> Analysis:
    return analyse(records(results))[0]


def _point(run: Run, epsilon: float) -> Point:
    curve = run.worst_case()
    return Point(curve[0.0], curve[epsilon], run.weight or 0.0)


def _percent(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [100 * p.clean for p in points], [100 * p.worst for p in points]


def _at(run: Record, epsilon: float) -> list[Record]:
    return [score for score in run["scores"] if score["epsilon"] == epsilon]


def _only(names: set[str], score: Record) -> Record:
    return {name: value for name, value in score.items() if name in names}


def _bound(epsilon: float) -> str:
    if epsilon == 0:
        return "clean"
    return "any lie" if epsilon >= 2 * FARTHEST else f"ε = {epsilon:g}"


def _interval(shares: Any) -> str:
    return with_interval(bootstrap([100 * share for share in shares]), "{:.1f}", "–")


REPORT = StudyReport(
    "A fleet whose position reports may lie",
    tables,
    (frontier_plot, epsilon_plot),
    headline,
)
