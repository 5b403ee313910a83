"""Tables and plots of the study, built only from its raw results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from aajr.report.figures import Plot, arms, blank_figure, log_scale
from aajr.report.study import StudyReport
from aajr.report.tables import Table
from aajr.report.wording import MISSING, difference, number, with_interval
from aajr.statistics.comparisons import holm
from aajr.statistics.intervals import bootstrap, paired_difference, sign_flip_probability
from aajr.studies.injection._protocol import ALIGNED, GROUPS, TEXT, TUNED_ON, label
from aajr.studies.injection._study import obeys_under, right_under

Record = dict[str, Any]

CLEAN = ("none",)
ALL = (*CLEAN, *TEXT)
"""The worst case over texts: right without an attack and under every text."""


def tables(results: Record) -> list[Table]:
    """Tables of the worst case, of every group, of differences, strength, compute and tuning."""
    return [
        _scores(results),
        _obeying(results),
        _differences(results),
        _strength(results),
        _compute(results),
        _tuning(results),
    ]


def _scores(results: Record) -> Table:
    columns = ("method", "clean", *TEXT, "every text", "embeddings")
    groups = (CLEAN, *((one,) for one in TEXT), ALL, ("embeddings",))
    rows = [
        (title, *(_percent([right_under(r, group) for r in found]) for group in groups))
        for title, found in _by_method(results)
    ]
    protocol = results["protocol"]
    note = (
        f"Right answers in %, lowest over the attacks of each group for every case; "
        f"{protocol['cases']} cases, {len(protocol['final_seeds'])} models a method: interquartile "
        "mean with its bootstrap interval. No method was trained or tuned on the held-out forms."
    )
    return Table("Right answers under attack", columns, tuple(rows), (note,))


def _obeying(results: Record) -> Table:
    columns = ("method", *GROUPS, "obeys the user", "perplexity of prose")
    rows = []
    for title, found in _by_method(results):
        cells = [_percent([obeys_under(r, (group,)) for r in found]) for group in GROUPS]
        prose = [r["perplexity"] for r in found if r["perplexity"] is not None]
        rows.append(
            (
                title,
                *cells,
                _percent([r["obeyed"] for r in found]),
                number(float(np.mean(prose))) if prose else MISSING,
            )
        )
    note = (
        "Attack success in %: the model does what the stranger orders under any attack of the "
        "group. A model that no longer obeys the user's own orders refuses too much."
    )
    return Table("Attack success, and obedience to the user", columns, tuple(rows), (note,))


def best_aligned(results: Record) -> str:
    """The method with AAJR that keeps most right answers on the validation seeds."""

    def kept(name: str) -> float:
        choice = results["choices"][name]
        (tried,) = (t for t in choice["tried"] if t["candidate"] == choice["candidate"])
        return float(sum(tried[group] for group in TUNED_ON))

    return max((n for n in ALIGNED if n in results["choices"]), key=kept)


def _differences(results: Record) -> Table:
    best = best_aligned(results)
    titles = {m["name"]: m["title"] for m in results["protocol"]["methods"]}
    ours = _by_seed(results, best, ALL)
    rivals = [name for name in titles if name not in ALIGNED]
    gaps = {name: _paired(ours, _by_seed(results, name, ALL)) for name in rivals}
    chances = {name: sign_flip_probability(gap) for name, gap in gaps.items()}
    corrected, rows = holm(chances), []
    for name in rivals:
        found = paired_difference(ours, _by_seed(results, name, ALL))
        clean = paired_difference(_by_seed(results, best, CLEAN), _by_seed(results, name, CLEAN))
        rows.append(
            (
                titles[name],
                difference(clean),
                difference(found),
                number(chances[name]),
                number(corrected[name]),
            )
        )
    note = (
        "Right answers in points, clean and under every text, paired over seeds; p of the exact "
        f"sign-flip test under every text, then with Holm's correction. {titles[best]} was chosen "
        "among the methods with AAJR on the validation seeds."
    )
    columns = (f"{titles[best]} less", "clean", "every text", "p", "corrected")
    return Table("Differences", columns, tuple(rows), (note,))


def _strength(results: Record) -> Table:
    seed, rows = results["protocol"]["final_seeds"][0], []
    for title, found in _by_method(results):
        (usual,) = (r for r in found if r["seed"] == seed)
        (strong,) = (r for r in results["thorough"] if r["method"] == usual["method"])
        cells = [
            f"{100 * right_under(record, (group,)):.0f}"
            for group in ("words", "embeddings")
            for record in (usual, strong)
        ]
        gained = [g > 0 for name, one in usual["attacks"].items() for g in one["gained"]]
        rows.append((title, *cells, f"{100 * np.mean(gained):.0f}"))
    columns = ("method", "words", "words, thorough", "embeddings", "embeddings, thorough", "gained")
    protocol = results["protocol"]
    note = (
        f"Right answers in %, one model a method, seed {seed}: as reported ({protocol['cases']} "
        f"cases), and with longer searches ({protocol['validation_cases']} other cases). gained: "
        "share of the searches that raised their objective."
    )
    return Table("Strength of the searches", columns, tuple(rows), (note,))


def _compute(results: Record) -> Table:
    costs, protocol = results["costs"], results["protocol"]
    rows = []
    for method in protocol["methods"]:
        share = costs[method["name"]] / costs["host"]
        rows.append((method["title"], f"{share:.2f}", f"{protocol['steps'] / share:.0f}"))
    note = (
        f"FLOPs of a mean step of fine-tuning over the host's, and the steps that cost as much as "
        f"the host's {protocol['steps']}. SecAlign takes half of them, and steps of DPO for the "
        "other half."
    )
    return Table("Equal compute", ("method", "FLOPs of a step", "steps"), tuple(rows), (note,))


def _tuning(results: Record) -> Table:
    rows = []
    for method in results["protocol"]["methods"]:
        choice = results["choices"][method["name"]]
        for entry in choice["tried"]:
            mark = "chosen" if entry["candidate"] == choice["candidate"] else ""
            figures = (f"{100 * entry[name]:.0f}" for name in ("clean", *TUNED_ON))
            rows.append((method["title"], label(entry["candidate"]), *figures, mark))
    seeds = ", ".join(map(str, results["protocol"]["validation_seeds"]))
    note = (
        f"Right answers in %, validation seeds {seeds}. The candidate of most right answers under "
        f"{' and '.join(TUNED_ON)} is chosen among those that keep .95 of the best clean share."
    )
    return Table("Tuning", ("method", "candidate", "clean", *TUNED_ON, ""), tuple(rows), (note,))


def _plot_scores(results: Record) -> Plot:
    rows = _by_method(results)
    figure = blank_figure(7.2, 1.2 + 0.32 * len(rows))
    axis = figure.add_subplot()
    looks = {
        "clean": (CLEAN, "o", "#888888"),
        "every text": (ALL, "s", "#b3402e"),
        "embeddings": (("embeddings",), "^", "#2e6fb3"),
    }
    for shift, (name, (groups, marker, colour)) in zip(
        (-0.2, 0.0, 0.2), looks.items(), strict=True
    ):
        found = [bootstrap([right_under(r, groups) for r in records]) for _, records in rows]
        axis.errorbar(
            [one.estimate for one in found],
            [index + shift for index in range(len(rows))],
            xerr=list(zip(*map(arms, found), strict=True)),
            fmt=marker,
            color=colour,
            ms=4,
            label=name,
        )
    axis.set_yticks(range(len(rows)), [title for title, _ in rows])
    axis.set(xlabel="share of the cases answered rightly", xlim=(-0.02, 1.02))
    axis.invert_yaxis()
    axis.legend()
    return Plot("scores", "Right answers, clean and under the worst attack of each case.", figure)


def _plot_compute(results: Record) -> Plot:
    figure = blank_figure(7.2, 3.8)
    axis = figure.add_subplot()
    titles = {m["name"]: m["title"] for m in results["protocol"]["methods"]}
    seeds = results["protocol"]["final_seeds"][:3]
    names = dict.fromkeys(r["method"] for r in results["smaller"])
    for name in names:
        records = [r for r in results["smaller"] if r["method"] == name]
        records += [r for r in results["models"] if r["method"] == name and r["seed"] in seeds]
        shares = sorted({r["budget"] for r in records})
        heights = [
            np.mean([right_under(r, ALL) for r in records if r["budget"] == share])
            for share in shares
        ]
        axis.plot(shares, heights, marker="o", label=titles[name])
    if names:
        log_scale(axis.xaxis)
        axis.legend(fontsize=7)
    axis.set(xlabel="compute, as a share of the host's", ylabel="right under every text")
    caption = f"Right answers under every text against compute, mean of seeds {seeds}."
    return Plot("compute", caption, figure)


def _by_method(results: Record) -> list[tuple[str, list[Record]]]:
    """Title and records of the final models of every method."""
    return [
        (method["title"], [r for r in results["models"] if r["method"] == method["name"]])
        for method in results["protocol"]["methods"]
    ]


def _by_seed(results: Record, name: str, groups: Sequence[str]) -> dict[int, float]:
    found = [r for r in results["models"] if r["method"] == name]
    return {r["seed"]: right_under(r, groups) for r in found}


def _paired(first: dict[int, float], second: dict[int, float]) -> list[float]:
    return [first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())]


def _percent(shares: Sequence[float]) -> str:
    return with_interval(bootstrap([100 * share for share in shares]), "{:.0f}", "–")


REPORT = StudyReport("Injected orders", tables, (_plot_scores, _plot_compute))
