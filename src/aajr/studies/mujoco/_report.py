"""Tables and plots of the MuJoCo study, built only from its raw results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aajr.report.figures import Plot, arms, blank_figure, heat_map
from aajr.report.study import StudyReport
from aajr.report.tables import Table
from aajr.report.wording import with_interval
from aajr.statistics.comparisons import difference, probability_of_improvement
from aajr.statistics.intervals import bootstrap
from aajr.studies.methods import look
from aajr.studies.mujoco._attacks import worst

Record = dict[str, Any]


def tables(results: Record) -> list[Table]:
    """Tables of returns, returns by attack, differences, attack strength and tuning."""
    return [
        _returns_table(results),
        _attacks_table(results),
        _differences_table(results),
        _strength_table(results),
        _tuning_table(results),
    ]


def _returns_table(results: Record) -> Table:
    rows = []
    for method in _methods(results):
        agents = _agents(results, method["name"])
        row = [method["title"]]
        kinds = (
            [float(np.mean(agent["returns"]["none"])) for agent in agents],
            [_worst(agent, results["five"]) for agent in agents],
            [_worst(agent) for agent in agents],
        )
        for values in kinds:
            interval = with_interval(bootstrap(values), "{:.0f}")
            row.append(f"{interval}\nmedian {np.median(values):.0f}")
        rows.append(tuple(row))
    for other in results["published"]:
        figures = (f"\nmedian {other['natural']:.0f}", f"\nmedian {other['worst']:.0f}", "")
        rows.append((f"not ours: {other['method']}", *figures))
    spread = ", ".join(f"{value:.3g}" for value in results["standard_deviations"])
    protocol = results["protocol"]
    notes = (
        f"Return of {protocol['episodes']} episodes of {protocol['environment']}, deterministic "
        f"policies, {len(protocol['final_seeds'])} agents a method: interquartile mean with its "
        "bootstrap interval, and the median agent beneath.",
        f"ε = {protocol['epsilon']:g} in L∞, in units of the reference agent's standard "
        f"deviations of the state ({spread}); the worst is taken for every agent on its own.",
        "Not ours: "
        + "; ".join(sorted({entry["source"] for entry in results["published"]}))
        + ": other code, other environment version, other networks.",
    )
    columns = ("method", "natural", "worst of\nthe five", "worst\nof all")
    return Table("Returns", columns, tuple(rows), notes, rules=(len(_methods(results)),))


def _attacks_table(results: Record) -> Table:
    names = list(results["agents"][0]["returns"])
    rows = zip(_methods(results), _middle_returns(results, names), strict=True)
    columns = ("method", *(name.replace("_", " ") for name in names))
    shown = tuple((method["title"], *(f"{value:.0f}" for value in row)) for method, row in rows)
    note = (
        "Interquartile means over the agents. push: the attack pushes the mean action in the same "
        "direction at every step; steer: the sign of a linear function of the state gives the "
        f"direction, for the worst function of {results['protocol']['director_draws']} random ones "
        "and of all single features with either sign."
    )
    return Table("Return by attack", columns, shown, (note,))


def _differences_table(results: Record) -> Table:
    own, rows = _by_seed(results, "aajr"), []
    for method in _methods(results):
        if method["name"] == "aajr":
            continue
        other = _by_seed(results, method["name"])
        gap = difference(own, other)
        chance = probability_of_improvement([*own.values()], [*other.values()])
        verdict = ("not separated", "AAJR higher", "AAJR lower")[gap.sign]
        cells = (with_interval(gap, "{:+.0f}"), with_interval(chance, "{:.2f}"))
        rows.append((method["title"], *cells, verdict))
    note = "Paired over seeds; different only where the interval excludes zero."
    columns = ("AAJR against", "difference of\nthe worst", "probability of\nimprovement", "verdict")
    return Table("Differences of the worst of all", columns, tuple(rows), (note,))


def _strength_table(results: Record) -> Table:
    rows = []
    for method in _methods(results):
        seed = results["protocol"]["final_seeds"][0]
        usual = next(a for a in _agents(results, method["name"]) if a["seed"] == seed)
        strong = next(a for a in results["thorough"] if a["method"] == method["name"])
        found = [
            worst(a["returns"], names) for names in (results["five"], [""]) for a in (usual, strong)
        ]
        cells = [f"{value:.0f}\n{name}" for value, name in found]
        largest = max(usual["largest_perturbation"].values())
        rows.append((method["title"], *cells, f"{largest:.3g}"))
    protocol = results["protocol"]
    ascent = "projected gradient ascent of {} steps from {} starts".format
    usual_search = ascent(protocol["attack_steps"], protocol["attack_restarts"])
    if protocol["search"] == "vertices":
        usual_search = "every vertex of the ball"
    note = (
        f"One agent a method, seed {protocol['final_seeds'][0]}. As reported: {usual_search}, "
        f"{protocol['episodes']} episodes. Thorough: "
        f"{ascent(protocol['thorough_steps'], protocol['thorough_restarts'])}, "
        f"{protocol['validation_episodes']} episodes. The last column is the greatest "
        "perturbation that reached a policy, in the unit of ε."
    )
    columns = (
        "method",
        "the five,\nas reported",
        "the five,\nthorough",
        "all,\nas reported",
        "all,\nthorough",
        "greatest ‖δ‖",
    )
    return Table("Strength of the attacks", columns, tuple(rows), (note,))


def _tuning_table(results: Record) -> Table:
    rows = [
        entry | {"title": method["title"], "knob": choice["knob"], "chosen": choice["value"]}
        for method in _methods(results)
        for choice in [results["choices"][method["name"]]]
        for entry in choice["tried"]
    ]
    columns: dict[str, Callable[[Record], str]] = {
        "method": lambda row: row["title"],
        "knob": lambda row: row["knob"],
        "value": lambda row: f"{row['value']:g}",
        "natural": lambda row: f"{row['natural']:.0f}",
        "worst": lambda row: f"{row['worst']:.0f}",
        "": lambda row: "chosen" if row["value"] == row["chosen"] else "",
    }
    seeds = ", ".join(map(str, results["protocol"]["validation_seeds"]))
    note = (
        f"Validation seeds {seeds}, which are not used in the other tables and plots. All tuned "
        "methods have the same number of candidates."
    )
    return Table.of("Tuning", columns, rows, note)


def _agents_plot(results: Record) -> Plot:
    figure = blank_figure(7.2, 3.6)
    axis = figure.subplots()
    methods = _methods(results)
    for row, method in enumerate(methods):
        values = [_worst(agent) for agent in _agents(results, method["name"])]
        colour, marker, _ = look(method["name"])
        interval = bootstrap(values)
        spots = np.full(len(values), row) + np.linspace(-0.2, 0.2, len(values))
        axis.plot(values, spots, marker, color=colour, alpha=0.45, linestyle="none", ms=5)
        error = np.array([arms(interval)]).T
        axis.errorbar(interval.estimate, row + 0.32, xerr=error, fmt="D", color=colour, capsize=3)
    for other in results["published"]:
        axis.axvline(other["worst"], color="#999999", linewidth=0.9, linestyle=":")
    axis.set_yticks(range(len(methods)), [method["title"] for method in methods])
    axis.invert_yaxis()
    axis.set(xlabel="return under the worst attack")
    caption = (
        "Every agent under its worst attack; diamonds: interquartile mean and interval; dotted: "
        "published figures of other code."
    )
    return Plot("agents", caption, figure)


def _attacks_plot(results: Record) -> Plot:
    names = list(results["agents"][0]["returns"])
    grid = _middle_returns(results, names)
    figure = blank_figure(8.4, 3.4)
    axis = figure.subplots()
    solved = results["protocol"]["solved"]
    heat_map(
        axis,
        grid,
        [method["title"] for method in _methods(results)],
        [name.replace("_", " ") for name in names],
        largest=max(solved, grid.max()),
        bright=0.6 * solved,
        rotation=35,
    )
    axis.set_aspect("equal")
    return Plot("attacks", "Interquartile mean of the return by method and attack.", figure)


def _middle_returns(results: Record, attacks: Sequence[str]) -> NDArray[np.float64]:
    """Interquartile mean over the agents, ``[methods, attacks]``."""

    def middle(method: str, attack: str) -> float:
        agents = _agents(results, method)
        return bootstrap([float(np.mean(a["returns"][attack])) for a in agents]).estimate

    rows = [[middle(m["name"], attack) for attack in attacks] for m in _methods(results)]
    return np.array(rows)


def _worst(agent: Record, attacks: Sequence[str] = ("",)) -> float:
    return worst(agent["returns"], attacks)[0]


def _methods(results: Record) -> list[Record]:
    return list(results["protocol"]["methods"])


def _agents(results: Record, method: str) -> list[Record]:
    return [agent for agent in results["agents"] if agent["method"] == method]


def _by_seed(results: Record, method: str) -> dict[int, float]:
    return {agent["seed"]: _worst(agent) for agent in _agents(results, method)}


REPORT = StudyReport("{protocol[environment]}", tables, (_agents_plot, _attacks_plot))
