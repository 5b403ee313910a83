"""docs/results.md and the README's table, from the committed results: make results."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from aajr.arena.records.evaluation import CLEAN
from aajr.studies.comparison.analysis import Analysis, analyse
from aajr.studies.comparison.records import Results, read_results
from aajr.studies.comparison.tables import paragraphs, success_table
from aajr.studies.methods import method_title

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results"
README = re.compile(r"(<!-- make results(?: (\S+))? -->\n).*?(\n<!-- end -->)", re.DOTALL)
"""The table of a directory of results/, by default of others."""


def section(path: str, title: str) -> str:
    """The section of a study's table.md with this title, its heading one level lower."""
    text = (RESULTS / path).read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    if found is None:
        raise ValueError(f"{path} has no section {title!r}; name one of its headings")
    return "#" + found[0].rstrip()


def comparison(path: str) -> str:
    """Success of the methods, and what the comparison says in words."""
    results, analysis = _compared(path)
    parts = ["#" + success_table(results, analysis).markdown().rstrip()]
    for title, sentences in paragraphs(analysis):
        parts.append(f"**{title}.**\n\n" + "\n".join(f"- {sentence}" for sentence in sentences))
    return "\n\n".join(parts)


def by_attack(path: str) -> str:
    """Mean success under every attack at the reference radius, at the chosen weights."""
    results, analysis = _compared(path)
    epsilon = results.reference_epsilon
    runs = [run for one in analysis.summaries for run in one.runs]
    attacks = dict.fromkeys(s.attack for r in runs for s in r.scores if s.epsilon == epsilon)
    rows = []
    for one in analysis.summaries:
        scores = [s for run in one.runs for s in run.scores if s.epsilon in (0.0, epsilon)]
        found = [[s.success for s in scores if s.attack == name] for name in (CLEAN, *attacks)]
        rows.append([method_title(one.method), *(f"{100 * fmean(values):.0f}" for values in found)])
    return _table(["method", "clean", *attacks], rows)


def exists(path: str) -> bool:
    """Whether there are results of a comparison."""
    return (RESULTS / path / "results.json").exists()


def standings(path: str) -> str:
    """Methods of an evaluation: clean and worst success, by ε."""
    found = json.loads((RESULTS / path).read_text(encoding="utf-8"))["standings"]["methods"]
    epsilons = list(found[0]["worst"])
    rows = [
        [one["method"], _percent(one["clean"]), *(_percent(one["worst"][e]) for e in epsilons)]
        for one in found
    ]
    return _table(["method", "clean", *(f"worst at ε = {e}" for e in epsilons)], rows)


def headline(path: str) -> str:
    """The README's table: chosen weights."""
    _, analysis = _compared(path)
    radii = [radius for radius in analysis.radii if radius not in (0.0, 0.05, 0.15)]
    rows = [
        [
            method_title(one.method),
            *(_percent(asdict(one.worst[radius])) for radius in (0.0, *radii)),
            f"{one.average('diagnostics', 'stable_rank'):.1f}",
        ]
        for one in analysis.summaries
    ]
    return _table(["method", "clean", *(f"ε = {r:g}" for r in radii), "stable rank"], rows)


def pages() -> dict[Path, str]:
    """What the command writes, by file."""
    environment = Environment(
        loader=FileSystemLoader(ROOT / "docs"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
    )
    page = environment.get_template("results.md.jinja").render(
        section=section,
        comparison=comparison,
        standings=standings,
        exists=exists,
        by_attack=by_attack,
    )
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return {
        ROOT / "docs/results.md": page,
        ROOT / "README.md": README.sub(lambda m: m[1] + headline(m[2] or "others") + m[3], readme),
    }


@cache
def _compared(path: str) -> tuple[Results, Analysis]:
    results = read_results(RESULTS / path / "results.json")
    return results, analyse(results)[0]


def _percent(interval: dict[str, Any]) -> str:
    """In percent, with the ends of the interval where there are seeds enough for one."""
    estimate, low, high = (interval[name] for name in ("estimate", "low", "high"))
    ends = "" if low is None else f" ({100 * low:.0f}–{100 * high:.0f})"
    return f"{100 * estimate:.0f}{ends}"


def _table(columns: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in (columns, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(columns), *lines[1:]])


def main() -> None:
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
