"""Tables and plots of the study, built only from its raw results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from aajr.report.figures import Plot, blank_figure, log_scale
from aajr.report.study import StudyReport
from aajr.report.style import AMBER, BLUE, GREEN, GREY, ORANGE
from aajr.report.tables import Table
from aajr.report.wording import with_interval
from aajr.statistics.intervals import Interval, bootstrap
from aajr.studies.stability._protocol import RULES
from aajr.studies.stability._study import Record, settled

_COLOURS = (BLUE, ORANGE, GREEN, AMBER)


def tables(results: Record) -> list[Table]:
    """The constraint's table and the step rules' table."""
    return [_constraint_table(results), _rules_table(results)]


def _constraint_table(results: Record) -> Table:
    rows = [_constraint_row(results, "unconstrained", "unconstrained", None)]
    for gamma, weight in zip(results["gammas"], results["weights"], strict=True):
        rows.append(_constraint_row(results, f"constraint_{gamma:g}", f"γ = {gamma:g}", gamma))
        rows.append(_constraint_row(results, f"fixed_{gamma:g}", f"λ = {weight:g}", gamma))
    columns = (
        "AAJR as",
        "λ",
        "quantile",
        "quantile\n/ γ",
        "above γ\nby 5 %",
        "fresh\n/ γ",
        "clean\n%",
        "worst\n%",
    )
    protocol = results["protocol"]
    notes = (
        f"Quantile: {protocol['quantile']:g} of ‖Jv‖ over the rows of an update, mean over the "
        f"iterations after the first {protocol['warmup']:.0%}; each figure is the interquartile "
        "mean over the seeds with its bootstrap interval.",
        "Above γ by 5 %: share of single iterations. Fresh: on new episodes against opponents of "
        "the test league. Worst: lowest success over the attacks at ε = "
        f"{protocol['base']['reference_epsilon']:g}.",
        "The fixed λ of a γ is the geometric mean of what the constraint used on the validation "
        "seed; γ are shares of the unconstrained quantile there.",
    )
    return Table("A constraint instead of a weight", columns, tuple(rows), notes)


def _constraint_row(results: Record, cell: str, title: str, gamma: float | None) -> tuple[str, ...]:
    runs = _runs(results, cell)
    level = _over_seeds(runs, lambda run: fmean(_settled(results, run, "sensitivity_quantile")))
    weight = _over_seeds(runs, lambda run: fmean(_settled(results, run, "weight")))
    shown = [title, f"{weight.estimate:.2g}", with_interval(level, "{:.3f}", "–")]
    if gamma is None:
        shown += ["", "", ""]
    else:
        ratio = _over_seeds(
            runs, lambda run: fmean(_settled(results, run, "sensitivity_quantile")) / gamma
        )
        above = _over_seeds(runs, lambda run: _share_above(results, run, 1.05 * gamma))
        fresh = _over_seeds(runs, lambda run: run["fresh_quantile"] / gamma)
        shown += [with_interval(ratio, "{:.3f}", "–"), f"{above.estimate:.0%}"]
        shown.append(with_interval(fresh, "{:.2f}", "–"))
    return (*shown, *_success(runs))


def _rules_table(results: Record) -> Table:
    rows = []
    for penalty, title in (("none", "no penalty"), ("aajr", "AAJR")):
        for rule in RULES:
            runs = _runs(results, f"harsh_{rule}_{penalty}")
            rows.append((f"{rule}, {title}", *_rule_figures(runs), *_success(runs)))
    columns = (
        "step rule",
        "non-monotone\nsteps, %",
        "step\n/ limit",
        "L_eff",
        "inner ‖g‖\nlargest/median",
        "outer ‖g‖\nlargest/median",
        "clean\n%",
        "worst\n%",
    )
    harsh = results["protocol"]["harsh_adversary"]
    note = (
        f"A harsh inner loop: ε = {harsh['epsilon']:g}, {harsh['steps']} steps of "
        f"{harsh['step_size']:g} ε, learning rate {results['protocol']['harsh_learning_rate']:g}. "
        "Non-monotone: share of steps that lowered the objective, over all updates, on 64 rows "
        "each. η / limit: median length of a step over the largest stable one."
    )
    return Table("Step rules in a harsh inner loop", columns, tuple(rows), (note,))


def _rule_figures(runs: Sequence[Record]) -> tuple[str, ...]:
    share = _over_seeds(runs, lambda run: 100 * fmean(_logged(run, "nonmonotone_share")))
    limit = _over_seeds(runs, lambda run: fmean(_logged(run, "step_to_limit")))
    smooth = _over_seeds(runs, lambda run: fmean(_logged(run, "effective_smoothness")))
    inner = _over_seeds(runs, lambda run: max(_logged(run, _SPIKE.format("inner"))))
    outer = _over_seeds(runs, lambda run: max(_logged(run, _SPIKE.format("outer"))))
    return (
        with_interval(share, "{:.2f}", "–"),
        f"{limit.estimate:.2f}",
        f"{smooth.estimate:.2g}",
        with_interval(inner, "{:.1f}", "–"),
        with_interval(outer, "{:.1f}", "–"),
    )


_SPIKE = "{}_gradient_norm_largest_over_median"


def _constraint_plot(results: Record) -> Plot:
    figure = blank_figure(8.4, 3.6)
    left, right = figure.subplots(1, 2)
    cells = [("unconstrained", GREY, "unconstrained")]
    for gamma, colour in zip(results["gammas"], _COLOURS, strict=False):
        left.axhline(gamma, color=colour, linewidth=0.8, linestyle=":")
        cells.append((f"constraint_{gamma:g}", colour, f"γ = {gamma:g}"))
    for cell, colour, label in cells:
        for index, run in enumerate(_runs(results, cell)):
            values = _logged(run, "sensitivity_quantile")
            iterations = range(1, len(values) + 1)
            name = None if index else label
            left.plot(iterations, values, color=colour, linewidth=1, alpha=0.8, label=name)
            if cell != "unconstrained":
                weights = _logged(run, "weight")
                right.plot(iterations, weights, color=colour, linewidth=1, alpha=0.8, label=name)
    warmup = results["protocol"]["warmup"] * len(values)
    left.axvspan(0.5, warmup + 0.5, color="#eeeeee", zorder=0)
    left.set(xlabel="iteration", ylabel="quantile of ‖Jv‖", ylim=(0, None))
    right.set(xlabel="iteration", ylabel="λ")
    log_scale(right.yaxis)
    left.legend(loc="upper left", fontsize=8)
    caption = (
        "Left: the bounded quantile of ‖Jv‖ at every iteration, one line for each seed; dotted: γ; "
        "shaded: warm-up. Right: the weight that dual ascent finds."
    )
    return Plot("constraint", caption, figure)


def _rules_plot(results: Record) -> Plot:
    figure = blank_figure(8.4, 3.4)
    axes = figure.subplots(1, 2, sharey=True)
    titles = {"none": "no penalty", "aajr": "AAJR"}
    for axis, (penalty, title) in zip(axes, titles.items(), strict=True):
        for rule, colour in zip(RULES, (ORANGE, BLUE, GREEN), strict=True):
            curves = [
                _logged(run, "nonmonotone_share")
                for run in _runs(results, f"harsh_{rule}_{penalty}")
            ]
            shares = 100 * np.mean(np.array(curves), axis=0)
            axis.plot(range(1, len(shares) + 1), shares, "o-", ms=3, color=colour, label=rule)
        axis.set(title=title, xlabel="iteration", ylim=(-1, None))
    axes[0].set_ylabel("non-monotone inner steps, %")
    axes[0].legend(fontsize=8)
    caption = "Share of inner steps that lowered the objective, mean over the seeds."
    return Plot("step_rules", caption, figure)


def _runs(results: Record, cell: str) -> list[Record]:
    return [run for run in results["runs"] if run["cell"] == cell]


def _logged(run: Record, name: str) -> list[float]:
    return [metrics[f"hider/{name}"] for metrics in run["history"]]


def _settled(results: Record, run: Record, name: str) -> list[float]:
    return settled(run, results["protocol"]["warmup"], name)


def _share_above(results: Record, run: Record, level: float) -> float:
    return fmean([float(v > level) for v in _settled(results, run, "sensitivity_quantile")])


def _over_seeds(runs: Sequence[Record], measure: Callable[[Any], float]) -> Interval:
    return bootstrap([measure(run) for run in runs])


def _success(runs: Sequence[Record]) -> tuple[str, str]:
    def clean(run: Record) -> float:
        return next(100 * s["success"] for s in run["scores"] if s["attack"] == "none")

    def worst(run: Record) -> float:
        return min(100 * s["success"] for s in run["scores"] if s["attack"] != "none")

    return (
        with_interval(_over_seeds(runs, clean), "{:.0f}", "–"),
        with_interval(_over_seeds(runs, worst), "{:.0f}", "–"),
    )


REPORT = StudyReport("Stability on the benchmark", tables, (_constraint_plot, _rules_plot))
