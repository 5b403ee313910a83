"""``aajr language``: AAJR and its rivals on language models that read what others write."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def language(
    preset: Literal["smoke", "standard"] = "standard",
    output: Path | None = None,
    work: Path = Path("runs"),
    workers: int | None = None,
) -> None:
    """Fine-tune tiny language models on a negotiation and on tool calls, then attack the words.

    Every method trains at the same FLOPs and is tuned with the same number of runs on a seed of its
    own. A killed run goes on where it was with the same command. It needs the extra 'language'.

    For example:

    $ aajr language

    $ aajr language --preset smoke --output /tmp/language

    Args:
        preset: smoke (two minutes) or standard (about an hour on two cores).
        output: directory of results.json, table.md and plots; results/language/<preset> by default.
        work: directory of models and partial results.
        workers: processes; as many as cores by default.
    """
    from rich.console import Console

    from aajr.studies.language import PROTOCOLS, render, study, write

    directory = output or Path("results") / "language" / preset
    results = study(PROTOCOLS[preset], work, workers)
    write(results, directory)
    console = Console()
    console.print(render(results))
    console.print(f"Tables and plots: {directory}", soft_wrap=True)
