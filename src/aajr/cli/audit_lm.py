"""``aajr audit-lm``: the sensitivity of a language model to every part of a chat."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro


def audit_lm(
    model: Annotated[str, tyro.conf.Positional],
    cases: Path,
    length: int = 64,
    draws: int = 4,
    device: str = "",
    seed: int = 0,
    output: Path = Path("results/audit-lm"),
) -> None:
    """Measure how strongly a language model's answers depend on each role and controlled span.

    The measure is the training penalty R of AAJR, along the gradient of the answer's probability
    and along random directions. Nothing is trained.

    For example:

    $ aajr audit-lm HuggingFaceTB/SmolLM2-135M-Instruct --cases cases.jsonl

    Args:
        model: a directory or name that transformers loads, a .gguf file, or
            package.module:function, which returns a model and its tokenizer.
        cases: file of JSON lines, as of aajr attack-lm; their judges are not used.
        length: largest number of tokens of an answer.
        draws: number of random directions for each part.
        device: cpu, cuda or cuda:1; by default a GPU if there is one.
        seed: seed of the random directions.
        output: directory of sensitivity.json and table.md.
    """
    import dataclasses

    from aajr.cli._bar import parts_bar, wide_console
    from aajr.language import read_cases, sensitivity
    from aajr.language.loading import load_model
    from aajr.report.files import write_json, write_whole

    found = read_cases(cases, trust=True)  # judges are never called here
    network, tokenizer = load_model(model, "float32", device)
    console = wide_console()
    with parts_bar(console) as progress:
        result = sensitivity(
            network, tokenizer, found, length=length, draws=draws, seed=seed, progress=progress
        )
    table = result.table()
    output.mkdir(parents=True, exist_ok=True)
    write_json(output / "sensitivity.json", dataclasses.asdict(result))
    write_whole(output / "table.md", table.markdown())
    console.print(table.rich(), *table.notes, "", f"Written to {output}", sep="\n")
