"""Tables and plot of the language study, built only from its raw results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from aajr.report.figures import Plot, arms, blank_figure
from aajr.report.study import StudyReport
from aajr.report.tables import Table
from aajr.report.wording import with_interval
from aajr.statistics.comparisons import difference, probability_of_improvement
from aajr.statistics.intervals import bootstrap
from aajr.studies.language._protocol import label
from aajr.studies.language._study import score
from aajr.studies.language._tasks import TASKS

Record = dict[str, Any]
WAYS = {"clean": ("clean",), "words": ("words",), "embeddings": ("embeddings",)}
"""Columns, each with the first parts of the names of its attacks; it shows their worst score."""


def tables(results: Record) -> list[Table]:
    """Tables of scores and differences for every task, attack strength, compute and tuning."""
    tasks = results["protocol"]["tasks"]
    return [
        *(_scores_table(results, task) for task in tasks),
        *(_differences_table(results, task) for task in tasks),
        _strength_table(results),
        _compute_table(results),
        _tuning_table(results),
    ]


def _scores_table(results: Record, task: str) -> Table:
    measure, rows = TASKS[task].measure, []
    for method in _methods(results):
        records = _of(results, task, method["name"])
        cells = [_interval([score(r, names) for r in records]) for names in WAYS.values()]
        rows.append((method["title"], *cells, *_secondary(records, measure)))
    protocol = results["protocol"]
    second = _secondary_name(results, task)
    note = (
        f"{measure} of {protocol['episodes']} episodes, {len(protocol['final_seeds'])} models a "
        "method: interquartile mean with its bootstrap interval. words: the worse of beam "
        "searches against the model's own reply and for a harmful one, at most 2 words changed in "
        "a prompt; embeddings: the worst of ascents of radius 0.1 and 0.3 of ‖e‖."
    )
    columns = (
        "method",
        *(f"{measure},\n{way}" for way in WAYS),
        f"{second},\nclean",
        f"{second},\nwords",
    )
    return Table(task.capitalize(), columns, tuple(rows), (note,))


def _secondary_name(results: Record, task: str) -> str:
    scores = next(r for r in results["models"] if r["task"] == task)["played"]["clean"]["scores"]
    return next(name for name in scores if name != TASKS[task].measure)


def _secondary(records: list[Record], measure: str) -> tuple[str, str]:
    def mean(attack: str) -> str:
        scores = [record["played"][attack]["scores"] for record in records]
        return f"{np.mean([v for s in scores for k, v in s.items() if k != measure]):.2f}"

    return mean("clean"), mean("words")


def _differences_table(results: Record, task: str) -> Table:
    rows = []
    for method in _methods(results):
        if method["name"] == "aajr":
            continue
        pairs = {
            way: [_by_seed(results, task, name, attacks) for name in ("aajr", method["name"])]
            for way, attacks in WAYS.items()
        }
        gaps = [difference(*pair) for pair in pairs.values()]
        cells = [with_interval(gap, "{:+.2f}") + (" *" if gap.sign else "") for gap in gaps]
        chance = probability_of_improvement(*([*side.values()] for side in pairs["words"]))
        rows.append((method["title"], *cells, with_interval(chance, "{:.2f}")))
    note = "Paired over seeds; * where the interval excludes zero."
    columns = ("AAJR less", *WAYS, "probability of\nimprovement, words")
    return Table(f"Differences, {task}", columns, tuple(rows), (note,))


def _strength_table(results: Record) -> Table:
    rows, seed = [], results["protocol"]["final_seeds"][0]
    for task in results["protocol"]["tasks"]:
        for method in _methods(results):
            usual = next(r for r in _of(results, task, method["name"]) if r["seed"] == seed)
            strong = next(
                r for r in results["thorough"] if (r["task"], r["method"]) == (task, method["name"])
            )
            cells = [
                f"{score(r, WAYS[w]):.2f}" for w in ("words", "embeddings") for r in (usual, strong)
            ]
            played = usual["played"].values()
            changed = max(p["changed"] for p in played)
            largest = max(p["relative"] for name, p in usual["played"].items() if "emb" in name)
            rows.append((f"{task}, {method['title']}", *cells, str(changed), f"{largest:.3g}"))
    protocol = results["protocol"]
    note = (
        f"One model a method, seed {seed}: as reported ({protocol['episodes']} episodes), and with "
        f"about three times the search ({protocol['validation_episodes']} episodes)."
    )
    columns = (
        "model",
        "words",
        "words,\nthorough",
        "embeddings",
        "embeddings,\nthorough",
        "most words\nchanged",
        "greatest\n‖δ‖/‖e‖",
    )
    return Table("Strength of the attacks", columns, tuple(rows), (note,))


def _compute_table(results: Record) -> Table:
    costs, protocol = results["costs"], results["protocol"]
    rows = []
    for method in _methods(results):
        share = costs["host"] / costs[method["name"]]
        rows.append((method["title"], f"{1 / share:.2f}", f"{round(protocol['steps'] * share)}"))
    note = (
        f"FLOPs of a mean step over the host's, a share {protocol['fraction']:g} of the rows at "
        f"every {protocol['interval']}-nd step; steps of fine-tuning that cost as much as the "
        f"host's {protocol['steps']}."
    )
    return Table("Equal compute", ("method", "step's FLOPs", "steps"), tuple(rows), (note,))


def _tuning_table(results: Record) -> Table:
    rows = []
    for task, choices in results["choices"].items():
        for method in _methods(results):
            choice = choices[method["name"]]
            for entry in choice["tried"]:
                mark = "chosen" if entry["candidate"] == choice["candidate"] else ""
                figures = (f"{entry[way]:.2f}" for way in WAYS)
                tried = label(entry["candidate"])
                rows.append((f"{task}, {method['title']}", tried, *figures, mark))
    seeds = ", ".join(map(str, results["protocol"]["validation_seeds"]))
    note = (
        f"Validation seed {seeds}, which is not used in the other tables and plots. All methods "
        "have the same number of candidates."
    )
    return Table("Tuning", ("method", "candidate", *WAYS, ""), tuple(rows), (note,))


def _plot(results: Record) -> Plot:
    tasks, methods = results["protocol"]["tasks"], _methods(results)
    figure = blank_figure(8.4, 3.8)
    axes = np.atleast_1d(figure.subplots(1, len(tasks), sharey=True))
    markers = {"clean": ("o", "#888888"), "words": ("s", "#b3402e"), "embeddings": ("^", "#2e6fb3")}
    for axis, task in zip(axes, tasks, strict=True):
        for row, method in enumerate(methods):
            for shift, (way, names) in zip((-0.2, 0, 0.2), WAYS.items(), strict=True):
                values = [score(r, names) for r in _of(results, task, method["name"])]
                found, (marker, colour) = bootstrap(values), markers[way]
                error = np.array([arms(found)]).T
                axis.errorbar(
                    found.estimate,
                    row + shift,
                    xerr=error,
                    fmt=marker,
                    color=colour,
                    capsize=2,
                    ms=4,
                    label=way if row == 0 else None,
                )
        axis.set(xlabel=f"{task}: {TASKS[task].measure}")
    axes[0].set_yticks(range(len(methods)), [method["title"] for method in methods])
    axes[0].invert_yaxis()
    axes[-1].legend(loc="lower left", fontsize=7)
    caption = "Interquartile means and intervals, clean and at the worst attack of each kind."
    return Plot("scores", caption, figure)


def _methods(results: Record) -> list[Record]:
    return list(results["protocol"]["methods"])


def _of(results: Record, task: str, method: str) -> list[Record]:
    return [r for r in results["models"] if (r["task"], r["method"]) == (task, method)]


def _by_seed(results: Record, task: str, method: str, names: tuple[str, ...]) -> dict[int, float]:
    return {r["seed"]: score(r, names) for r in _of(results, task, method)}


def _interval(values: Sequence[float]) -> str:
    return with_interval(bootstrap(values), "{:.2f}")


REPORT = StudyReport("Language models", tables, (_plot,))
