"""The tables that ``aajr evaluate`` prints."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from aajr.arena.records.evaluation import Assessment, Evaluation, Trial
from aajr.arena.records.method_comparison import Comparison, MethodSummary
from aajr.report.tables import Table
from aajr.report.wording import with_interval
from aajr.statistics.intervals import Interval


def attack_table(assessment: Assessment, evaluation: Evaluation) -> Table:
    """Success and return of one policy per attack and ε, with the cost of the attacks."""
    epsilons, suite = assessment.epsilons, evaluation.suite
    clean = assessment.clean
    rows = [("none", *[_outcome(clean)] * len(epsilons), _cost([clean]))]
    ball = [t for t in assessment.trials if not t.fixed and t is not clean]
    for name in dict.fromkeys(trial.score.attack for trial in ball):
        trials = [trial for trial in ball if trial.score.attack == name]
        rows.append((name, *map(_outcome, trials), _cost(trials)))
    for trial in assessment.fixed:
        name = f"{trial.score.attack}\n{trial.score.epsilon:g} {trial.unit}"
        rows.append((name, *[_outcome(trial)] * len(epsilons), _cost([trial])))
    note = (
        f"Success of the protected team, and its return beneath; suite {suite['name']} version "
        f"{suite['version']}; ε in {evaluation.unit}; threat {evaluation.threat}; forward and "
        "backward passes per decision, and the seconds of all radii beneath."
    )
    columns = ("attack", *(f"ε = {epsilon:g}" for epsilon in epsilons), "passes")
    title = f"{assessment.checkpoint} ({assessment.method}, seed {assessment.seed})"
    rules = (1, len(rows))
    return Table(title, columns, (*rows, *_worst_rows(assessment)), (note,), rules)


def coordination_tables(assessment: Assessment, epsilon: float) -> list[Table]:
    """Measures of the team's behaviour, in tables of the clean trial and four attacks at ε."""
    attacked = assessment.at(epsilon)
    return [
        _coordination_table(assessment, epsilon, attacked[first : first + 4])
        for first in range(0, len(attacked), 4)
    ]


def _coordination_table(assessment: Assessment, epsilon: float, attacked: Sequence[Trial]) -> Table:
    trials = (assessment.clean, *attacked)
    rows: list[tuple[str, ...]] = []
    for name, value in assessment.clean.coordination.items():
        values = [trial.coordination[name] for trial in trials]
        if isinstance(value, tuple):
            for role in range(len(value)):
                rows.append((f"{name} of role {role}", *[f"{v[role]:.3f}" for v in values]))
        else:
            rows.append((name, *[f"{v:.3f}" for v in values]))
    title = f"{assessment.checkpoint}: coordination, attacks at ε = {epsilon:g}"
    return Table(title, ("measure", *(_in_lines(t.score.attack) for t in trials)), tuple(rows))


def method_table(summaries: Sequence[MethodSummary]) -> Table:
    """The methods over their seeds: interquartile mean with its interval, and the median agent."""
    rows = []
    for one in summaries:
        worst = [f"{_share(v)}\nmedian {one.median[e]:.1%}" for e, v in one.worst.items()]
        area = "" if one.area is None else _share(one.area)
        rows.append((one.method, str(one.clean.seeds), _share(one.clean), *worst, area))
    note = (
        "Interquartile mean with its 95 % bootstrap interval over seeds, and the median agent "
        "beneath; with fewer than three seeds there is no interval."
    )
    worst_at = (f"worst at\nε = {epsilon:g}" for epsilon in summaries[0].worst)
    columns = ("method", "seeds", "clean", *worst_at, "area")
    return Table("Methods over seeds", columns, tuple(rows), (note,))


def comparison_table(comparisons: Sequence[Comparison]) -> Table:
    """Pairs of methods, which count as different only if the interval excludes zero."""
    rows = []
    for one in comparisons:
        chance = "" if one.chance is None else f"{one.chance:.3f}"
        cells = (_share(one.difference), _share(one.improvement), chance, one.verdict)
        rows.append((f"{one.first} minus {one.second}\n{one.figure}", *cells))
    columns = ("methods", "difference", "P(improvement)", "sign-flip\np", "verdict")
    return Table("Differences", columns, tuple(rows))


def _worst_rows(assessment: Assessment) -> list[tuple[str, ...]]:
    epsilons = assessment.epsilons
    worst = [assessment.worst(epsilon) for epsilon in epsilons]
    in_ball = [assessment.worst(epsilon, in_ball=True) for epsilon in epsilons]
    each = [assessment.worst_per_episode(epsilon) for epsilon in epsilons]
    return [
        ("worst over the suite", *map(_named, worst), ""),
        ("worst in the ball", *map(_named, in_ball), ""),
        ("won under every attack", *(f"{share:.1%}" for share in each), ""),
    ]


def _outcome(trial: Trial) -> str:
    return f"{trial.score.success:.1%}\n{trial.score.mean_return:.2f}"


def _named(trial: Trial) -> str:
    return f"{trial.score.success:.1%}\n{_in_lines(trial.score.attack)}"


def _in_lines(attack: str) -> str:
    """A name, wrapped to a narrow column."""
    return "\n".join(textwrap.wrap(attack.replace("_", " "), 9))


def _cost(trials: Sequence[Trial]) -> str:
    """Passes per decision, and seconds of all radii, preparation included."""
    forward = sum(trial.forward_passes for trial in trials) / len(trials)
    backward = sum(trial.backward_passes for trial in trials) / len(trials)
    seconds = sum(trial.seconds + trial.preparation_seconds for trial in trials)
    return f"{forward:.0f} / {backward:.0f}\n{seconds:.1f} s"


def _share(interval: Interval) -> str:
    return with_interval(interval, "{:.1%}")
