"""Tables and plots of the study, built only from its raw results."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.text import Text

from aajr.report.figures import Plot, blank_figure, log_scale
from aajr.report.study import StudyReport
from aajr.report.style import BLUE, GREEN, GREY, ORANGE
from aajr.report.tables import Table
from aajr.report.wording import with_interval
from aajr.statistics.intervals import Interval, bootstrap
from aajr.studies.theory._gather import QUANTILES, RULES, Record
from aajr.studies.theory._segments import GRID, INFLATION
from aajr.studies.theory._study import violations
from aajr.studies.theory._verdicts import TOLERANCE

_CLASSES = {"aligned": ("Π_AAJR", BLUE, "o"), "global": ("Π_glob", ORANGE, "^")}
_TASKS = {
    "separate": "adversary wants the calm output",
    "shared": "control: it wants the sharp output",
}
_REMARKS = {
    "separate": (
        "The target map, whose error is 0, lies in Π_AAJR(γ) for every γ ≥ 0.37, and in Π_glob(γ) "
        "only for γ ≥ 8. So where policies in Π_AAJR have a larger error than policies without a "
        "constraint, the optimiser is the cause and not the class. Where the error of Π_AAJR is "
        "below the closed form, no map that obeys the global bound everywhere can reach it, up to "
        "the sampling of the test points."
    ),
    "shared": "Here the adversary wants what the task needs, and the classes pay alike.",
}


def headline(results: Record) -> Text:
    """A sentence with the numbers of checks and violations."""
    checks, broken = sum(item["checked"] for item in results["statements"]), violations(results)
    count = f"{broken} violations in {checks:,} checks"
    text = f"{count} on {len(results['problems']):,} random problems."
    return Text(text, style="bold red" if broken else "bold")


def tables(results: Record) -> list[Table]:
    """Tables of the statements, the step sizes, and the price of robustness on both tasks."""
    prices = [_price_table(results, task) for task in _TASKS]
    return [_statement_table(results), _step_table(results), *prices]


def _statement_table(results: Record) -> Table:
    rows = []
    for item in results["statements"]:
        found = dict(zip(QUANTILES, item["tightness"], strict=False))
        rows.append(
            (
                item["statement"],
                item["constants"].replace("none", ""),
                f"{item['checked']:,}",
                str(item["violations"]),
                f"{item['compared']:,}",
                *(f"{found[q]:.3g}" if found else "" for q in (0.05, 0.5, 0.95)),
            )
        )
    columns = (
        "statement",
        "constants",
        "checked",
        "violations",
        "compared",
        "tightness\n5 %",
        "\nmedian",
        "\n95 %",
    )
    notes = (
        "Tightness: the bound over what happened (for guaranteed gains the reverse), 1 is exact. "
        "Compared: where both are positive and not negligible. Violation: broken by more than "
        f"{TOLERANCE:g} of the larger side and 1e-12 of the objective's size. Measured constants "
        f"of a step: the largest values at {GRID} points of its segment, ends included, times "
        f"{INFLATION}. Certified constants: computed from the layers' norms, and valid on the "
        "whole segment.",
        _clipping_note(results["clipping"]),
    )
    return Table("Every statement", columns, tuple(rows), notes)


def _clipping_note(clipping: Record) -> str:
    example = clipping["example"]
    return (
        "The statement does not cover sign steps that the ball clips, because it is false for "
        f"them: of {clipping['steps']:,} clipped steps within the limit, {clipping['falls']:,} "
        "lowered the objective. Example: F = -½‖δ - (1, 0.01)‖² with the first coordinate at the "
        f"edge. For a step of {example['step_size']:.4g} (limit {example['limit']:.4g}) the "
        f"statement would promise a gain of {example['promised']:.3g}. The gain is "
        f"{example['gain']:.3g}; the bound for the clipped step is {example['guaranteed']:.3g}."
    )


def _step_table(results: Record) -> Table:
    bounds = ((0.0, 0.1), (0.1, 1.0), (1.0, 2.0), (2.0, 5.0), (5.0, 10.0), (10.0, math.inf))
    rows = []
    for table, title in (("falls", "bound"), ("falls_to_curvature", "curvature")):
        for low, high in bounds:
            shown = f"{low:g} to {high:g}" if math.isfinite(high) else f"above {low:g}"
            cells = [_share(results["steps"][table][rule], low, high) for rule in RULES]
            rows.append((f"{title}: {shown}", str(cells[0][1]), *(_percent(c) for c in cells)))
    columns = ("η over its limit", "steps", *(f"{rule}\n% falling" for rule in RULES))
    note = (
        "Raw gradient steps with projection. The limit is 2/sup(L‖J d‖² + Gκ) (bound), or "
        "2/sup|dᵀ∇²F d| (curvature), with the suprema over the step after projection. The safe "
        "rules start from the same points with the same η."
    )
    return Table("Steps that lower the objective", columns, tuple(rows), (note,), rules=(6,))


def _share(bins: Sequence[Record], low: float, high: float) -> tuple[float | None, int]:
    inside = [
        b
        for b in bins
        if b["least"] >= low * (1 - 1e-6)
        and b["greatest"] <= max(high, 1e300 * (high == math.inf)) * (1 + 1e-6)
    ]
    steps, falls = sum(b["steps"] for b in inside), sum(b["falls"] for b in inside)
    return (falls / steps if steps else None), steps


def _percent(found: tuple[float | None, int]) -> str:
    return "" if found[0] is None else f"{100 * found[0]:.2f}"


def _price_table(results: Record, task: str) -> Table:
    rows = []
    for gamma in results["config"]["price"]["gammas"]:
        for constraint, (name, _, _) in _CLASSES.items():
            fits = _fits(results, task, constraint, gamma)
            rows.append((f"γ = {gamma:g}, {name}", *_price_cells(fits, constraint, gamma)))
    free = _fits(results, task, "none", None)
    rows.append(("no constraint", *_price_cells(free, "none", None)))
    columns = (
        "class",
        "nominal error",
        "least over seeds",
        "under its\nattack",
        "under an attack\non all errors",
        "in the class:\nenforced points",
        "\nfresh points",
        "rescaled\nby at most",
    )
    price = results["config"]["price"]
    notes = (
        f"Squared error on {price['judged']} fresh points, interquartile mean and bootstrap "
        f"interval over {len(price['seeds'])} seeds. Membership by aajr.theory.membership on the "
        "points where the constraint was enforced and on as many fresh ones: share of the policies "
        "whose largest sensitivity is at most γ (and the largest excess).",
        "Its attack pushes the output that the constraint speaks of; the other maximises the "
        "squared error of both outputs, and no policy was fitted against it.",
        "Least nominal error of any map with ‖J‖₂ ≤ γ everywhere, in closed form: "
        f"{_optima(results)}.",
        _REMARKS[task],
    )
    title = f"Price of robustness: {_TASKS[task]}"
    rules = tuple(range(2, len(rows), 2))
    return Table(title, columns, tuple(rows), notes, rules)


def _optima(results: Record) -> str:
    gammas = results["config"]["price"]["gammas"]
    pairs = zip(gammas, results["global_optimum"], strict=True)
    return ", ".join(f"{value:.4f} at {gamma:g}" for gamma, value in pairs)


def _price_cells(fits: Sequence[Record], constraint: str, gamma: float | None) -> tuple[str, ...]:
    nominal, robust, other = (_over_seeds(fits, name) for name in ("nominal", "robust", "other"))
    least = min(item["nominal"] for item in fits)
    shown = [_figure(nominal), f"{least:.4f}", _figure(robust), _figure(other)]
    if gamma is None:
        return (*shown, "", "", "")
    which = 0 if constraint == "aligned" else 1
    for points in ("train", "test"):
        ratios = [item[points][which] / gamma for item in fits]
        inside = sum(ratio <= 1 for ratio in ratios) / len(ratios)
        worst = max(ratios) - 1
        shown.append(f"{inside:.0%}" + (f" (+{100 * worst:.1f} %)" if worst > 0 else ""))
    return (*shown, f"{min(item['rescaled'] for item in fits):.3f}")


def _tightness_plot(results: Record) -> Plot:
    items = [item for item in results["statements"] if item["tightness"]]
    figure = blank_figure(7.6, 0.8 + 0.32 * len(items))
    axis = figure.subplots()
    for row, item in enumerate(items):
        low, quarter, median, three, high = item["tightness"]
        colour = ORANGE if item["constants"] == "certified" else BLUE
        axis.plot([low, high], [row, row], color=colour, linewidth=1.2, solid_capstyle="butt")
        middle = axis.plot([quarter, three], [row, row], color=colour, linewidth=5, alpha=0.5)
        middle[0].set_solid_capstyle("butt")
        axis.plot(median, row, "o", color=colour, markersize=5)
    names = [f"{i['statement']} ({i['constants']})".replace(" (none)", "") for i in items]
    axis.set_yticks(range(len(items)), names)
    axis.set_ylim(len(items) - 0.5, -0.5)
    axis.axvline(1.0, color=GREY, linewidth=0.8)
    axis.set_xlabel("tightness")
    log_scale(axis.xaxis)
    decades = range(1 + math.floor(math.log10(max(item["tightness"][-1] for item in items))))
    axis.set_xticks([10**d for d in decades], [f"1e{d}" if d > 3 else str(10**d) for d in decades])
    caption = (
        "How tight each statement is, bound over actual (guaranteed gains: the reverse): median, "
        "middle half and 5–95 % over all rows; 1 is exact, no row lies below it. Blue: constants "
        "measured on the step; orange: certified for the step's whole segment."
    )
    return Plot("tightness", caption, figure)


def _steps_plot(results: Record) -> Plot:
    figure = blank_figure(8.4, 3.4)
    axes = figure.subplots(1, 2, sharey=True)
    titles = {"falls": "limit 2 / sup(L‖Jd‖² + Gκ)", "falls_to_curvature": "limit 2 / sup|dᵀ∇²F d|"}
    looks = zip(RULES, (ORANGE, BLUE, GREEN), ("o-", "s-", "^--"), strict=True)
    for rule, colour, line in looks:
        for axis, table in zip(axes, titles, strict=True):
            bins = [b for b in results["steps"][table][rule] if b["least"] > 0 and b["steps"]]
            inner = [b for b in bins if b["greatest"] < 1e300]
            middle = [math.sqrt(b["least"] * b["greatest"]) for b in inner]
            shares = [100 * b["falls"] / b["steps"] for b in inner]
            axis.plot(middle, shares, line, color=colour, markersize=4, label=rule)
    for axis, title in zip(axes, titles.values(), strict=True):
        axis.axvline(1.0, color=GREY, linewidth=1, linestyle=":")
        axis.set(xlabel="step size over its limit", title=title)
        log_scale(axis.xaxis)
    axes[0].set_ylabel("steps that lower the objective, %")
    axes[0].legend(fontsize=8)
    caption = (
        "Share of steps that lower the objective against the step size over its limit. Left of the "
        "dotted line the theorem forbids it."
    )
    return Plot("step_sizes", caption, figure)


def _price_plot(results: Record) -> Plot:
    figure = blank_figure(8.4, 3.6)
    axes = figure.subplots(1, 2, sharey=True)
    gammas = results["config"]["price"]["gammas"]
    for axis, (task, title) in zip(axes, _TASKS.items(), strict=True):
        for constraint, (name, colour, marker) in _CLASSES.items():
            found = [_over_seeds(_fits(results, task, constraint, g), "nominal") for g in gammas]
            axis.plot(gammas, [i.estimate for i in found], marker + "-", color=colour, label=name)
            if all(i.low is not None for i in found):
                low, high = [i.low for i in found], [i.high for i in found]
                axis.fill_between(gammas, low, high, color=colour, alpha=0.2, linewidth=0)
        optimum = _over_seeds(_fits(results, task, "none", None), "nominal").estimate
        axis.axhline(optimum, color=GREY, linestyle=":", label="no constraint")
        positive = [(g, v) for g, v in zip(gammas, results["global_optimum"], strict=True) if v > 0]
        axis.plot(*zip(*positive, strict=True), "--", color=ORANGE, lw=1, label="least in Π_glob")
        axis.set(xlabel="γ", title=title)
        log_scale(axis.xaxis)
        log_scale(axis.yaxis)
        axis.set_xticks(gammas, [f"{g:g}" for g in gammas])
        axis.minorticks_off()
    axes[0].set_ylabel("nominal error")
    axes[0].legend(fontsize=8)
    caption = (
        "Nominal error of policies held in either class at the same γ: interquartile mean and 95 % "
        "interval over the seeds. Dashed: the least error of any map in the global class, in "
        "closed form."
    )
    return Plot("price_of_robustness", caption, figure)


def _fits(results: Record, task: str, constraint: str, gamma: float | None) -> list[Record]:
    chosen = {"task": task, "constraint": constraint, "gamma": gamma}
    return [fit for fit in results["price"] if chosen.items() <= fit.items()]


def _over_seeds(fits: Sequence[Record], name: str) -> Interval:
    return bootstrap([fit[name] for fit in fits])


def _figure(found: Interval) -> str:
    return with_interval(found, "{:.4f}", "–")


_PLOTS = (_tightness_plot, _steps_plot, _price_plot)
REPORT = StudyReport("The theory on random problems", tables, _PLOTS, headline)
