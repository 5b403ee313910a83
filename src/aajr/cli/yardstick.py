"""``aajr yardstick``: single-agent robustness beside published figures."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def yardstick(
    preset: Literal["smoke", "standard", "hopper"] = "standard",
    output: Path | None = None,
    work: Path = Path("runs"),
    workers: int | None = None,
) -> None:
    """Train vanilla and robust PPO on a MuJoCo task, attack all, print returns beside others'.

    Every method is tuned with the same number of runs on seeds of its own. A killed run goes on
    where it was with the same command. It needs the extra 'yardstick'.

    For example:

    $ aajr yardstick

    $ aajr yardstick --preset smoke --output /tmp/yardstick

    $ aajr yardstick --preset hopper --workers 8

    Args:
        preset: smoke (InvertedPendulum, four minutes), standard (InvertedPendulum, an hour or two)
            or hopper (a night).
        output: directory of results.json, table.md and plots; results/yardstick/<preset> by
            default.
        work: directory of agents and partial results.
        workers: processes; as many as cores by default.
    """
    from rich.console import Console

    from aajr.studies.mujoco import PROTOCOLS, render, study, write

    directory = output or Path("results") / "yardstick" / preset
    results = study(PROTOCOLS[preset], work, workers)
    write(results, directory)
    console = Console()
    console.print(render(results))
    console.print(f"Tables and plots: {directory}", soft_wrap=True)
