"""``aajr reproduce``: the main job."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from aajr.evaluation.page import write_report
from aajr.evaluation.presets import PresetName
from aajr.evaluation.presets import preset as find_preset
from aajr.evaluation.report import read_replay
from aajr.evaluation.reproduce import reproduce as run_comparison
from aajr.evaluation.reproduce import workspace
from aajr.evaluation.table import render_table


def reproduce(
    preset: PresetName = "quick",
    output: Path | None = None,
    work: Path = Path("runs"),
    workers: int | None = None,
) -> None:
    """Train, attack and compare; print the table and write the report.

    A killed run goes on where it was with the same command.

    For example:

    $ aajr reproduce

    $ aajr reproduce --preset smoke --output /tmp/smoke

    $ aajr reproduce --preset full --workers 8

    Args:
        preset: smoke (about a minute), quick (minutes) or full (hours).
        output: directory of results.json, replay.json, plots and report.html; by default
            results/PRESET.
        work: directory of checkpoints and partial results.
        workers: processes; as many as cores by default.
    """
    directory = output or Path("results") / preset
    chosen = find_preset(preset)
    results = run_comparison(chosen, work, workers)
    replay = read_replay(workspace(chosen, work).directory / "replay.json")
    write_report(results, directory, replay)
    console = Console()
    console.print(render_table(results))
    console.print(f"Report: {directory / 'report.html'}", soft_wrap=True)
