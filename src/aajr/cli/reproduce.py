"""``aajr reproduce``: the comparison of methods, from training to the report."""

from __future__ import annotations

from pathlib import Path

from aajr.cli._running import Changes, Ray, run_study
from aajr.studies.comparison.presets import PresetName


def reproduce(
    preset: PresetName = "quick",
    changes: Changes = (),
    output: Path | None = None,
    work: Path = Path("runs"),
    workers: int | None = None,
    ray: Ray = None,
) -> None:
    """Train, attack and compare; print the table and write the report.

    A killed run goes on where it was with the same command.

    For example:

    $ aajr reproduce

    $ aajr reproduce --preset smoke --output /tmp/smoke

    $ aajr reproduce --preset standard --workers 8

    $ aajr reproduce --preset full --ray auto --work /shared/runs

    Args:
        preset: the game of reports, in which any k of n sources lie: smoke (about a minute), quick
            (ten minutes), validation (two hours on two cores, no final seed), standard (ten
            to twelve hours) or full (on Ray); or others, in which the adversary moves all that is
            perceived of others, with others-smoke and others-full.
        changes: numbers and words of the preset to replace.
        output: directory of results.json, replay.json, plots and report.html; by default
            results/PRESET.
        work: directory of checkpoints and partial results.
        workers: processes; as many as cores by default.
        ray: run on Ray: on the cluster at ADDRESS (auto: the one started on this machine), or on
            a local one without ADDRESS. The work directory must then be shared by its nodes.
    """
    run_study("comparison", preset, changes, output, work, workers, ray)
