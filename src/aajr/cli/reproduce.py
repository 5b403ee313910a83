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

    The same command continues a killed run.

    For example:

    $ aajr reproduce

    $ aajr reproduce --preset smoke --output /tmp/smoke

    $ aajr reproduce --preset standard --workers 8

    $ aajr reproduce --set env.radio.liars=2 adversary.epsilon=1 ppo.hidden=256,256
    --output /tmp/changed

    $ aajr reproduce --preset full --ray auto --work /shared/runs

    Args:
        preset: for the game of reports, in which any k of n sources lie: smoke (about a minute),
            quick (ten minutes), validation (some hours on two cores, no final seed), standard
            (ten seeds, a few hours) or full (on Ray). For the game in which the adversary perturbs
            all features about other agents: others, others-smoke or others-full.
        changes: settings of the preset to replace, also those inside others (adversary.epsilon).
        output: directory of results.json, replay.json, plots and report.html; by default
            results/PRESET.
        work: directory of checkpoints and partial results.
        workers: number of processes; by default the number of cores.
        ray: run on Ray: on the cluster at ADDRESS (auto: the one started on this machine), or on
            a local cluster without ADDRESS. All nodes must share the work directory.
    """
    run_study("comparison", preset, changes, output, work, workers, ray)
