"""``aajr evaluate``: put trained policies through a suite of attacks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from aajr.evaluation.contenders import Contender, contenders
from aajr.evaluation.evaluation_tables import (
    attack_table,
    comparison_table,
    coordination_table,
    standing_table,
)
from aajr.evaluation.examination import Examination, Subject, evaluation_of
from aajr.evaluation.standings import THRESHOLDS, comparisons, standings
from aajr.evaluation.suites import SuiteName, suite_of
from aajr.evaluation.trials import Assessment, Evaluation, write_evaluation
from aajr.training.threats import Threat


def evaluate(
    checkpoints: Annotated[tuple[Path, ...], tyro.conf.Positional],
    opponents: tuple[Path, ...],
    suite: SuiteName = "standard",
    eps: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FLOAT[,FLOAT...]")] = (
        "0.05,0.1,0.15,0.2,0.3",
    ),
    threat: Threat = "others",
    episodes: int = 256,
    seed: int = 0,
    coordination: bool = False,
    output: Path = Path("results/evaluation"),
) -> None:
    """Attack hiders with every attack of a suite, at every ε; the worst over the suite counts.

    Every finished trial is kept under the output: a stopped run goes on with the same command.
    With several checkpoints the methods are compared over their seeds.

    For example:

    $ aajr evaluate runs/aajr/checkpoint.safetensors --opponents runs/league --suite quick
    --eps 0,0.1,0.2

    Args:
        checkpoints: policies to attack, or directories of them.
        opponents: checkpoints, or directories of them, whose seekers they play against.
        suite: quick, standard or thorough; versions and attacks stand in the results.
        eps: L∞ radii, in observation units (in logits for the threat actions).
        threat: what the adversary may touch.
        episodes: of each trial.
        seed: of the starts; the same for all policies, attacks and ε.
        coordination: print the measures of behaviour too; they are always in the results.
        output: directory of evaluation.json and of the trials.
    """
    plan = Examination(suite_of(suite), threat, _radii(eps), episodes, seed)
    hiders, seekers = contenders(checkpoints, "hider"), contenders(opponents, "seeker")
    console = Console()
    assessments = _examine(hiders, seekers, plan, output / "trials", console)
    evaluation = evaluation_of(plan, seekers, assessments)
    path = output / "evaluation.json"
    write_evaluation(evaluation, path, _conclusions(evaluation))
    _print(evaluation, coordination, console)
    console.print(f"Results: {path}", soft_wrap=True)


def _radii(texts: Sequence[str]) -> tuple[float, ...]:
    words = [word for text in texts for word in text.split(",") if word.strip()]
    try:
        return tuple(float(word) for word in words)
    except ValueError:
        raise ValueError(f"eps={' '.join(texts)!r} is not allowed; give numbers >= 0") from None


def _examine(
    hiders: Sequence[Contender],
    seekers: Sequence[Contender],
    plan: Examination,
    directory: Path,
    console: Console,
) -> list[Assessment]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    subjects = [Subject(one, seekers, plan, directory) for one in hiders]
    found = []
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("attacking", total=len(hiders) * len(plan.cells))
        for subject in subjects:
            for trial in subject.trials():
                name, size = trial.score.attack, trial.score.epsilon
                text = f"{subject.contender.name}: {name} at {size:g}"
                progress.update(task, advance=1, description=text)
            found.append(subject.assessment())
    return found


def _conclusions(evaluation: Evaluation) -> dict[str, object]:
    """What the results say of methods, as JSON values."""
    return {
        "thresholds": THRESHOLDS,
        "methods": [dataclasses.asdict(one) for one in standings(evaluation)],
        "comparisons": [
            dataclasses.asdict(one) | {"verdict": one.verdict} for one in comparisons(evaluation)
        ],
    }


def _print(evaluation: Evaluation, coordination: bool, console: Console) -> None:
    for item in evaluation.assessments:
        console.print(attack_table(item, evaluation))
        for finding in item.findings():
            console.print(f"Finding: {finding}")
        for epsilon in item.epsilons[-1:] if coordination else ():
            console.print(coordination_table(item, epsilon))
    if len(evaluation.assessments) > 1:
        console.print(standing_table(standings(evaluation)))
        if pairs := comparisons(evaluation):
            console.print(comparison_table(pairs))
