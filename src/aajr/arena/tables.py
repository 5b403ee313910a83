"""What ``aajr evaluate`` prints."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from aajr.arena.method_comparison import Comparison, MethodSummary
from aajr.arena.records import Assessment, Evaluation, Trial
from aajr.statistics.intervals import Interval


def attack_table(assessment: Assessment, evaluation: Evaluation) -> Table:
    """Success and return of one policy, per attack and ε, and what the attacks cost."""
    epsilons = assessment.epsilons
    suite = evaluation.suite
    table = Table(
        title=f"{assessment.checkpoint} ({assessment.method}, seed {assessment.seed})",
        caption=f"hiders' success / return; suite {suite['name']} version {suite['version']}; "
        f"ε in {evaluation.unit}; threat {evaluation.threat}; cost per decision",
    )
    table.add_column("attack")
    for epsilon in epsilons:
        table.add_column(f"ε = {epsilon:g}", justify="right")
    for name in ("forward", "backward", "seconds"):
        table.add_column(name, justify="right")
    clean = _outcome(assessment.clean)
    table.add_row("none", *[clean] * len(epsilons), *_cost([assessment.clean]), end_section=True)
    ball = [t for t in assessment.trials if not t.fixed and t.score.attack != "none"]
    for name in dict.fromkeys(trial.score.attack for trial in ball):
        trials = [trial for trial in ball if trial.score.attack == name]
        table.add_row(name, *map(_outcome, trials), *_cost(trials))
    for trial in assessment.fixed:
        name = f"{trial.score.attack}: {trial.score.epsilon:g} {trial.unit}"
        table.add_row(name, *[_outcome(trial)] * len(epsilons), *_cost([trial]))
    table.add_section()
    for name, cells in _worst_rows(assessment):
        table.add_row(name, *cells, "", "", "")
    return table


def coordination_table(assessment: Assessment, epsilon: float) -> Table:
    """Measures of the hiders' behaviour, clean and under each attack at ε."""
    trials = (assessment.clean, *assessment.at(epsilon))
    table = Table(title=f"{assessment.checkpoint}: coordination, attacks at ε = {epsilon:g}")
    table.add_column("measure")
    for trial in trials:
        table.add_column(trial.score.attack, justify="right")
    for name, value in assessment.clean.coordination.items():
        values = [trial.coordination[name] for trial in trials]
        if isinstance(value, tuple):
            for role in range(len(value)):
                table.add_row(f"{name} of role {role}", *[f"{v[role]:.3f}" for v in values])
        else:
            table.add_row(name, *[f"{v:.3f}" for v in values])
    return table


def method_table(summaries: Sequence[MethodSummary]) -> Table:
    """Methods over their seeds: interquartile mean with its interval, and the median agent."""
    table = Table(
        title="Methods over seeds",
        caption="interquartile mean with its 95 % bootstrap interval over seeds; in brackets the "
        "median agent; with fewer than three seeds there is no interval",
    )
    table.add_column("method")
    table.add_column("seeds", justify="right")
    table.add_column("clean", justify="right")
    for epsilon in summaries[0].worst:
        table.add_column(f"worst at ε = {epsilon:g}", justify="right")
    table.add_column("area", justify="right")
    for one in summaries:
        worst = [f"{_interval(v)} [{one.median[e]:.1%}]" for e, v in one.worst.items()]
        area = "" if one.area is None else _interval(one.area)
        table.add_row(one.method, str(one.clean.seeds), _interval(one.clean), *worst, area)
    return table


def comparison_table(comparisons: Sequence[Comparison]) -> Table:
    """Pairs of methods; different only where the interval excludes zero."""
    table = Table(title="Differences, first minus second")
    for name in ("first", "second", "figure"):
        table.add_column(name)
    for name in ("difference", "P(improvement)", "p by chance", "verdict"):
        table.add_column(name, justify="right")
    for one in comparisons:
        chance = "" if one.chance is None else f"{one.chance:.3f}"
        cells = (_interval(one.difference), _interval(one.improvement), chance, one.verdict)
        table.add_row(one.first, one.second, one.figure, *cells)
    return table


def _worst_rows(assessment: Assessment) -> list[tuple[str, list[str]]]:
    epsilons = assessment.epsilons
    worst = [assessment.worst(epsilon).score for epsilon in epsilons]
    in_ball = [assessment.worst(epsilon, in_ball=True).score for epsilon in epsilons]
    each = [assessment.worst_per_episode(epsilon) for epsilon in epsilons]
    return [
        ("worst over the suite", [f"{s.success:.1%} {s.attack}" for s in worst]),
        ("worst in the ball", [f"{s.success:.1%} {s.attack}" for s in in_ball]),
        ("won whatever the attack", [f"{share:.1%}" for share in each]),
    ]


def _outcome(trial: Trial) -> str:
    return f"{trial.score.success:.1%} / {trial.score.mean_return:.2f}"


def _cost(trials: Sequence[Trial]) -> tuple[str, str, str]:
    """Passes per decision, and seconds of all radii, preparation included."""
    forward = sum(trial.forward_passes for trial in trials) / len(trials)
    backward = sum(trial.backward_passes for trial in trials) / len(trials)
    seconds = sum(trial.seconds + trial.preparation_seconds for trial in trials)
    return f"{forward:.0f}", f"{backward:.0f}", f"{seconds:.1f}"


def _interval(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return f"{interval.estimate:.1%}"
    return f"{interval.estimate:.1%} ({interval.low:.1%} to {interval.high:.1%})"
