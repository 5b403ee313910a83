"""The tables of a comparison, the same in the terminal and on the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from aajr.arena.records.evaluation import Score
from aajr.report import wording
from aajr.report.tables import Table
from aajr.statistics.frontiers import Verdict, verdict_of
from aajr.statistics.intervals import Interval
from aajr.studies.comparison import verdicts
from aajr.studies.comparison.analysis import SUBJECT, Analysis, Summary
from aajr.studies.comparison.records import Results, Run
from aajr.studies.methods import method_title


def render_table(results: Results, analyses: Sequence[Analysis]) -> RenderableType:
    """Render tables and conclusions for a terminal of 100 columns.

    Args:
        results: the results; they may be empty or hold a single seed.
        analyses: the analyses of the results, one for each threat.

    Returns:
        A renderable for ``rich.print``.
    """
    parts: list[RenderableType] = [Text(heading(results), style="bold")]
    for analysis in analyses:
        parts += [Text(""), Text(verdicts.epsilon_sentence(analysis))]
        for table in tables(results, analysis):
            parts += [Text(""), table.rich(), *(Text(note, "dim") for note in table.notes)]
        for name, sentences in paragraphs(analysis):
            parts += [Text(""), Text(name, style="bold")]
            parts.append(_bullets(sentences))
    if not results.runs:
        parts += [Text(""), Text("No run was finished, so there is nothing to compare.")]
    if results.scope:
        parts += [Text(""), Text("What this preset can and cannot show", style="bold")]
        parts.append(Text(results.scope))
    return Group(*parts)


def heading(results: Results) -> str:
    """One line with the preset and the numbers of runs and seeds."""
    seeds = {split: {run.seed for run in results.runs if run.split == split} for split in _SPLITS}
    counts = ", ".join(
        f"{wording.plural(len(found), f'{split} seed')}" for split, found in seeds.items() if found
    )
    runs = wording.plural(len(results.runs), "run")
    return f"Preset '{results.preset}': {runs}" + (f", {counts}" if counts else "")


def paragraphs(analysis: Analysis) -> list[tuple[str, list[str]]]:
    """Titled lists of sentences: the frontiers, the conclusion, the warnings."""
    compared = [
        verdicts.comparison_sentence(item, analysis.epsilon, analysis.corrected)
        for item in analysis.comparisons
    ]
    if compared and analysis.frontier_split != "final":
        compared.append("These frontiers are those of the validation seeds.")
    found = [
        ("Frontiers at matched clean success", compared),
        ("In plain words", verdicts.conclusion(analysis)),
        ("Warnings", list(analysis.warnings)),
    ]
    return [(name, sentences) for name, sentences in found if sentences]


def tables(results: Results, analysis: Analysis) -> tuple[Table, ...]:
    """The tables of one threat: success, hidden share and return, differences, gradients, cost."""
    found = (
        success_table(results, analysis),
        reward_table(analysis),
        differences_table(analysis),
        sensitivity_table(analysis),
        gradient_table(analysis),
        cost_table(analysis),
    )
    return tuple(table for table in found if table.rows)


def success_table(results: Results, analysis: Analysis) -> Table:
    """Clean and worst-case success of each method, the floors, and the paper's claims."""
    radii = [radius for radius in analysis.radii if radius > 0]
    columns = ("method", "λ", "seeds", "clean", *(f"ε={radius:g}" for radius in radii), "median")
    rows = [
        (
            method_title(summary.method),
            wording.weight(summary.weight),
            str(len(summary.runs)),
            *(_with_ends(summary.worst.get(radius)) for radius in (0.0, *radii)),
            wording.percent(summary.median),
        )
        for summary in analysis.summaries
    ]
    methods = len(rows)
    floors = [run for run in results.floors if run.threat == analysis.threat] or results.floors
    rows += [_floor_row(name, floors, radii) for name in dict.fromkeys(r.method for r in floors)]
    quoted = len(rows)
    blank = ("",) * (len(radii) + 1)
    rows += [(f"quoted†: {name}", "", "", f"{claim}†", *blank) for name, claim in verdicts.CLAIMS]
    return Table(
        title="Success of the protected team in %, lowest over the attacks",
        columns=columns,
        rows=tuple(rows) if methods else (),
        notes=(
            f"Interquartile mean over {analysis.split} seeds, 95 % bootstrap interval beneath. "
            f"median: the median agent at ε = {analysis.epsilon:g}.",
            f"† {verdicts.QUOTED}. The digest names no seeds and no definition of success.",
        ),
        rules=tuple(sorted({methods, quoted})),
    )


def reward_table(analysis: Analysis) -> Table:
    """Hidden share and return, clean and in the worst case, of runs with a hidden share."""
    rows = tuple(
        (
            method_title(summary.method),
            wording.weight(summary.weight),
            *(
                f"{_mean(summary, Run.worst_hidden, radius, '.2f')}\n"
                f"{_mean(summary, Run.worst_return, radius, '+.2f')}"
                for radius in analysis.radii
            ),
            wording.percent(summary.average("diagnostics", "silenced")),
        )
        for summary in analysis.summaries
        if any(run.hidden for run in summary.runs)
    )
    radii = ("clean" if radius == 0 else f"ε={radius:g}" for radius in analysis.radii)
    return Table(
        title="Hidden share, and return beneath, lowest over the attacks",
        columns=("method", "λ", *radii, "success\nin silence"),
        rows=rows,
        notes=(
            "Means over seeds. Hidden share: how many hiders no seeker sees while they are sought. "
            "Return: sum of a hider's rewards. Success in silence, in %: success if all reports "
            "are set to zero. A method with the same success under true reports ignores them.",
        ),
    )


def differences_table(analysis: Analysis) -> Table:
    """Differences between AAJR and each other method at the chosen weights, paired by seed."""
    worst = f"ε={analysis.epsilon:g}"
    rows = tuple(
        (
            method_title(pair.rival),
            *(wording.difference(item, "\n") for item in (pair.clean, pair.worst, pair.area)),
            _STANDING[verdict_of(pair.worst)],
            wording.MISSING if pair.chance is None else f"{pair.chance:.2g}",
        )
        for pair in analysis.differences
    )
    return Table(
        title=f"{method_title(SUBJECT)} minus each other method, chosen weights, in points",
        columns=(
            "minus",
            "clean",
            worst,
            "mean over ε",
            "AAJR\nunder attack",
            "p",
        ),
        rows=rows,
        notes=(
            "Mean over paired seeds, 95 % bootstrap interval beneath; two methods differ only if "
            "it excludes zero. A policy that hardly reacts to its input can look best in this "
            "table; the frontiers decide. p: exact sign-flip test of the worst case, without "
            "correction.",
        ),
    )


def sensitivity_table(analysis: Analysis) -> Table:
    """Norms of the Jacobian, and how much of it lies along the adversary's direction."""
    keys = [(_DIAGNOSTICS, name) for name in _DIAGNOSTIC_COLUMNS]
    return Table(
        title="Sensitivity of the policy",
        columns=("method", *_DIAGNOSTIC_COLUMNS.values()),
        rows=_averages(analysis, keys),
        notes=(
            "Means over seeds. Near a stable rank of 1 a directional penalty is a global one with "
            "another λ.",
        ),
    )


def gradient_table(analysis: Analysis) -> Table:
    """Norms of the gradients over the updates of the training."""
    groups = (("gradient_norm", "outer"), ("inner_gradient_norm", "inner"))
    names = {"mean": "mean", "variance": "variance", "largest_over_median": "max/median"}
    keys = [(group, name) for group, _ in groups for name in names]
    return Table(
        title="Norms of the gradients in training",
        columns=("method", *(f"{side}\n{word}" for _, side in groups for word in names.values())),
        rows=_averages(analysis, keys),
        notes=("Means over seeds. outer: gradient of the parameters; inner: of the adversary.",),
    )


def cost_table(analysis: Analysis) -> Table:
    """Time of an update, and evidence that the attacks reached the policy."""
    rows = tuple(_cost_row(summary, analysis.epsilon) for summary in analysis.summaries)
    return Table(
        title="Cost, and whether the attacks bite",
        columns=(
            "method",
            "ms per\nupdate",
            "overhead",
            "10⁶\nsteps",
            "worst\nattack",
            "actions\nchanged",
            "largest\n‖δ‖/ε",
            "critics'\nR²",
        ),
        rows=rows,
        notes=(
            "overhead: time of an update relative to the adversarial method, measured interleaved. "
            f"Attacks at ε = {analysis.epsilon:g}: the one that most often was worst, the largest "
            "share of actions it changed, the largest perturbation.",
        ),
    )


_SPLITS = ("validation", "final")
_STANDING = {
    Verdict.ABOVE: "better",
    Verdict.BELOW: "worse",
    Verdict.NOT_SEPARATED: "not separated",
    Verdict.NOT_COMPARABLE: "not comparable",
}
_DIAGNOSTICS = "diagnostics"
_DIAGNOSTIC_COLUMNS = {
    "aligned": "‖Jv‖²",
    "frobenius": "‖J‖²_F",
    "spectral": "‖J‖²₂",
    "alignment": "‖Jv‖²/‖J‖²_F",
    "stable_rank": "stable rank\n‖J‖²_F/‖J‖²₂",
}


def _averages(analysis: Analysis, keys: Sequence[tuple[str, str]]) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (
            method_title(summary.method),
            *(wording.number(summary.average(group, name)) for group, name in keys),
        )
        for summary in analysis.summaries
    )


def _mean(
    summary: Summary, measure: Callable[[Run], dict[float, float]], radius: float, form: str
) -> str:
    found = [curve[radius] for run in summary.runs if radius in (curve := measure(run))]
    return f"{sum(found) / len(found):{form}}".replace("-", "−") if found else wording.MISSING


def _with_ends(interval: Interval | None) -> str:
    if interval is None:
        return wording.MISSING
    return f"{wording.percent(interval.estimate)}\n{wording.interval_ends(interval)}".rstrip()


def _floor_row(name: str, floors: Sequence[Run], radii: Sequence[float]) -> tuple[str, ...]:
    runs = [run for run in floors if run.method == name]
    curves = [run.worst_case() for run in runs]
    cells = []
    for radius in (0.0, *radii):
        values = [curve[radius] for curve in curves if radius in curve]
        cells.append(wording.percent(sum(values) / len(values)) if values else "")
    return (f"floor: {name}", "", str(len(runs)), *cells, "")


def _cost_row(summary: Summary, epsilon: float) -> tuple[str, ...]:
    scores = [s for run in summary.runs for s in run.scores if s.epsilon == epsilon > 0]
    attacks = [name for run in summary.runs if (name := run.worst_attack(epsilon)) is not None]
    seconds, overhead = summary.average("seconds_per_update"), summary.average("overhead")
    steps = summary.average("environment_steps")
    fits = [fit for run in summary.runs for fit in run.critic_r2]
    return (
        method_title(summary.method),
        wording.number(None if seconds is None else 1000 * seconds),
        wording.MISSING if overhead is None else f"{100 * (overhead - 1):+.1f} %".replace("-", "−"),
        wording.number(steps / 1e6 if steps else None),
        max(dict.fromkeys(attacks), key=attacks.count) if attacks else wording.MISSING,
        _extreme(scores, lambda score: 100 * score.changed_actions, "{:.0f} %"),
        _extreme(scores, lambda score: score.largest_perturbation / score.epsilon, "{:.2f}"),
        f"{min(fits):.2f}–{max(fits):.2f}".replace("-", "−") if fits else wording.MISSING,
    )


def _extreme(scores: Sequence[Score], measure: Callable[[Score], float], form: str) -> str:
    return form.format(max(map(measure, scores))) if scores else wording.MISSING


def _bullets(sentences: Sequence[str]) -> Grid:
    grid = Grid.grid(padding=(0, 1))
    for sentence in sentences:
        grid.add_row("•", Text(sentence))
    return grid
