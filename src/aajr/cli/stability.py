"""``aajr stability``: the constraint form and the step rules on the benchmark."""

from __future__ import annotations

from pathlib import Path

from aajr.studies.comparison.presets import PresetName


def stability(
    preset: PresetName = "quick",
    output: Path | None = None,
    work: Path = Path("runs"),
    workers: int | None = None,
) -> None:
    """Train with ‖Jv‖ ≤ γ at three γ and with every step rule; print tables, write plots.

    A killed run goes on where it was with the same command. Opponents and plain policies are
    shared with ``aajr reproduce``.

    For example:

    $ aajr stability

    $ aajr stability --preset smoke --output /tmp/stability

    Args:
        preset: smoke (a minute), quick (half an hour) or full (hours).
        output: directory of results.json, table.md and plots; results/stability by default.
        work: directory of checkpoints and partial results.
        workers: processes; as many as cores by default.
    """
    from rich.console import Console

    from aajr.studies.stability import PROTOCOLS, render, study, write

    directory = output or Path("results") / "stability"
    results = study(PROTOCOLS[preset], work, workers)
    write(results, directory)
    console = Console()
    console.print(render(results))
    console.print(f"Tables and plots: {directory}", soft_wrap=True)
