"""``aajr evaluate``: attack trained policies with a suite of attacks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from aajr.arena.settings import SuiteName
from aajr.arena.threats import Threat


def evaluate(
    checkpoints: Annotated[tuple[Path, ...], tyro.conf.Positional],
    opponents: tuple[Path, ...] = (),
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
    """Attack hiders with every attack of a suite at every ε; report the lowest success.

    Every finished trial is saved under the output, so the same command continues a stopped run.
    With several checkpoints the methods are compared over their seeds.

    For example:

    $ aajr evaluate runs/aajr/checkpoint.safetensors --opponents runs/league --suite quick
    --eps 0,0.1,0.2

    Args:
        checkpoints: checkpoints of the attacked policies, or directories with such files.
        opponents: checkpoints of the seekers, or directories with such files. Without any, in the
            game of reports scripted seekers play.
        suite: quick, standard or thorough; the results list its version and attacks.
        eps: L∞ radii, in observation units (in logits for the threat actions).
        threat: features that the adversary may change.
        episodes: number of episodes of each trial.
        seed: seed of the initial states; the same for all policies, attacks and ε.
        coordination: print the measures of behaviour too; the results always hold them.
        output: directory of evaluation.json and of the trials.
    """
    from rich.console import Console

    from aajr.arena.attacks.suites import suite_of
    from aajr.arena.examination.trials import Examination, evaluation_of
    from aajr.arena.records.evaluation import write_evaluation
    from aajr.cli._examining import conclusions, examine, print_evaluation
    from aajr.hide_and_seek.training.trained_teams import trained_teams

    plan = Examination(suite_of(suite), threat, _radii(eps), episodes, seed)
    hiders = trained_teams(checkpoints, "hider")
    seekers = trained_teams(opponents, "seeker") if opponents else ()
    console = Console()
    assessments = examine(hiders, seekers, plan, output / "trials", console)
    evaluation = evaluation_of(plan, seekers, assessments)
    path = output / "evaluation.json"
    write_evaluation(evaluation, path, conclusions(evaluation))
    print_evaluation(evaluation, coordination, console)
    console.print(f"Results: {path}", soft_wrap=True)


def _radii(texts: Sequence[str]) -> tuple[float, ...]:
    words = [word for text in texts for word in text.split(",") if word.strip()]
    try:
        return tuple(float(word) for word in words)
    except ValueError:
        raise ValueError(f"eps={' '.join(texts)!r} is not allowed; give numbers >= 0") from None
