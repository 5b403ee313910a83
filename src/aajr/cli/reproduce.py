"""``aajr reproduce``: the main job."""

from __future__ import annotations

from pathlib import Path

from aajr.cli._pools import Ray, pool_of
from aajr.studies.comparison.presets import PresetName
from aajr.studies.comparison.presets import preset as find_preset


def reproduce(
    preset: PresetName = "quick",
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

    $ aajr reproduce --preset full --workers 8

    $ aajr reproduce --preset full --ray auto --work /shared/runs

    Args:
        preset: smoke (about a minute), quick (minutes) or full (hours).
        output: directory of results.json, replay.json, plots and report.html; by default
            results/PRESET.
        work: directory of checkpoints and partial results.
        workers: processes; as many as cores by default.
        ray: run on Ray: on the cluster at ADDRESS (auto: the one started on this machine), or on
            a local one without ADDRESS. The work directory must then be shared by its nodes.
    """
    from rich.console import Console

    from aajr.hide_and_seek.replay import read_replay
    from aajr.studies.comparison.page import Chapter, write_report
    from aajr.studies.comparison.reproduce import reproduce as run_comparison
    from aajr.studies.comparison.reproduce import workspace
    from aajr.studies.comparison.tables import render_table

    directory = output or Path("results") / preset
    chosen = find_preset(preset)
    work = work if ray is None else work.resolve()
    results = run_comparison(chosen, work, pool_of(workers, ray, work))
    replay = read_replay(workspace(chosen, work).directory / "replay.json")
    chapter = Chapter(results, replay)
    write_report(chapter, directory)
    console = Console()
    console.print(render_table(results, chapter.analyses))
    console.print(f"Report: {directory / 'report.html'}", soft_wrap=True)
