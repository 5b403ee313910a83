"""Running and printing of ``aajr evaluate``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from aajr.arena.examination.trials import Examination
from aajr.arena.records.evaluation import Assessment, Evaluation
from aajr.arena.records.method_comparison import THRESHOLDS, comparisons, method_summaries
from aajr.arena.records.tables import (
    attack_table,
    comparison_table,
    coordination_tables,
    method_table,
)
from aajr.cli._bar import progress_bar
from aajr.hide_and_seek.training.trained_teams import TrainedTeam, examinee
from aajr.report.tables import Table


def examine(
    hiders: Sequence[TrainedTeam],
    seekers: Sequence[TrainedTeam],
    plan: Examination,
    directory: Path,
    console: Console,
) -> list[Assessment]:
    """Attack every hider with every attack of the plan, behind a progress bar."""
    examinees = [examinee(one, seekers, plan, directory) for one in hiders]
    found = []
    with progress_bar(console) as progress:
        task = progress.add_task("attacking", total=len(hiders) * len(plan.cells))
        for one in examinees:
            for trial in one.trials():
                name, size = trial.score.attack, trial.score.epsilon
                text = f"{one.entry.name}: {name} at {size:g}"
                progress.update(task, advance=1, description=text)
            found.append(one.assessment())
    return found


def conclusions(evaluation: Evaluation) -> dict[str, object]:
    """Summaries and comparisons of the methods, as JSON values."""
    return {
        "thresholds": THRESHOLDS,
        "methods": [dataclasses.asdict(one) for one in method_summaries(evaluation)],
        "comparisons": [
            dataclasses.asdict(one) | {"verdict": one.verdict} for one in comparisons(evaluation)
        ],
    }


def print_evaluation(evaluation: Evaluation, coordination: bool, console: Console) -> None:
    """Print the tables of every policy and, for several policies, the comparison of methods."""
    for item in evaluation.assessments:
        _print(attack_table(item, evaluation), console)
        for finding in item.findings():
            console.print(f"Finding: {finding}")
        for epsilon in item.epsilons[-1:] if coordination else ():
            for table in coordination_tables(item, epsilon):
                _print(table, console)
    if len(evaluation.assessments) > 1:
        _print(method_table(method_summaries(evaluation)), console)
        if pairs := comparisons(evaluation):
            _print(comparison_table(pairs), console)


def _print(table: Table, console: Console) -> None:
    console.print(table.rich(), *table.notes, sep="\n")
