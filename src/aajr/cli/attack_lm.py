"""``aajr attack-lm``: attack language models of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro


def attack_lm(
    model: Annotated[str, tyro.conf.Positional],
    cases: Path,
    suite: Literal["quick", "standard", "thorough"] = "standard",
    length: int = 64,
    batch: int = 16,
    draft: str = "",
    dtype: Literal["float32", "bfloat16", "float16"] = "float32",
    device: str = "",
    seed: int = 0,
    trust_functions: bool = False,
    report: Path | None = None,
    output: Path = Path("results/attack-lm"),
) -> None:
    """Attack a language model through what another party writes; report how often it obeys.

    A line of the cases is a chat, the part of it that the other party writes, and how an answer is
    judged:

    {"messages": [{"role": "user", "content": "How much is the lamp?"}, {"role": "tool", "content":
    "lamp: 42 euros"}], "controlled": ["tool"], "right": {"regex": "42"}}

    Every finished part is saved under the output, so the same command continues a stopped run.

    For example:

    $ aajr attack-lm HuggingFaceTB/SmolLM2-135M-Instruct --cases cases.jsonl --suite quick

    $ aajr attack-lm runs/sft --cases cases.jsonl --dtype bfloat16 --report report.html

    $ aajr attack-lm my_package.models:load --cases cases.jsonl --suite thorough

    Args:
        model: a directory or name that transformers loads, a .gguf file, or
            package.module:function, which returns a model and its tokenizer.
        cases: file of JSON lines; the documentation lists their fields.
        suite: quick, standard or thorough; the report lists its version and attacks.
        length: largest number of tokens of an answer.
        batch: number of prompts that are evaluated at once.
        draft: a smaller model with the same tokens, which makes the suffix search faster.
        dtype: precision of the weights.
        device: cpu, cuda or cuda:1; by default a GPU if there is one.
        seed: seed of the attacks.
        trust_functions: let judges name functions, which are then imported and run.
        report: the page; by default report.html in the output.
        output: directory of report.json, of the page and of the parts.
    """
    from aajr.cli._bar import parts_bar, wide_console
    from aajr.language import attack, read_cases
    from aajr.language.loading import load_model

    found = read_cases(cases, trust=trust_functions)
    network, tokenizer = load_model(model, dtype, device)
    small = load_model(draft, dtype, device)[0] if draft else None
    console = wide_console()
    with parts_bar(console) as progress:
        result = attack(
            network,
            tokenizer,
            found,
            suite,
            length=length,
            batch=batch,
            draft=small,
            seed=seed,
            name=model,
            directory=output / "parts",
            progress=progress,
        )
    paths = [result.save(output / "report.json"), result.save(report or output / "report.html")]
    table = result.table()
    console.print(table.rich(), *table.notes, "", sep="\n")
    for sentence in result.findings:
        console.print(f"Finding: {sentence}")
    for name, reason in result.left_out.items():
        console.print(f"Left out: {name}: {reason}", markup=False)
    console.print(f"Report: {', '.join(map(str, paths))}", soft_wrap=True)
