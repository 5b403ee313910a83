"""The report as files: ``results.json``, the plots, and one HTML page that needs no network."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from aajr.evaluation import words
from aajr.evaluation.analysis import Analysis, analyse
from aajr.evaluation.drawing import Plot, save
from aajr.evaluation.plots import draw
from aajr.evaluation.records import Results, write_results
from aajr.evaluation.sheet import Sheet
from aajr.evaluation.table import heading, paragraphs, sheets

CSS = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff;
  max-width: 62rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.25rem; margin-top: 2.2rem; } h3 { font-size: 1.05rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .4rem 0; }
th, td { padding: .25rem .6rem; text-align: right; vertical-align: top; white-space: nowrap; }
thead th { border-bottom: 1px solid #888; white-space: normal; vertical-align: bottom; }
th:first-child, .facts td { text-align: left; } .facts td { white-space: normal; }
tbody th { font-weight: 400; } tr.rule > * { border-top: 1px solid #ccc; }
small, .note, figcaption { color: #555; } .note, figcaption { font-size: .85rem; margin: .3rem 0; }
figure { margin: 1.5rem 0; } img { max-width: 100%; height: auto; }
code { background: #f3f3f3; padding: .15rem .35rem; overflow-wrap: anywhere; }
.warnings { border-left: 4px solid #d55e00; padding-left: .8rem; }
@media print { body { max-width: none; font-size: 10pt; padding: 0; }
  figure, table { break-inside: avoid; } .wide { overflow: visible; } table { font-size: 7.5pt; }
  th, td { padding: .15rem .3rem; } }
"""


def write_report(results: Results, directory: Path) -> None:
    """Write ``results.json``, ``plots/*.png`` and ``plots/*.svg``, and ``report.html``.

    The same results give the same bytes. Empty results give a page that says so.

    Args:
        results: what was measured.
        directory: where to write; it is made if need be.
    """
    directory.mkdir(parents=True, exist_ok=True)
    write_results(results, directory / "results.json")
    plots = draw(results)
    paths = save(plots, directory / "plots") if plots else []
    pictures = {path.stem: path.read_bytes() for path in paths if path.suffix == ".svg"}
    page = html_page(results, plots, pictures)
    (directory / "report.html").write_text(page, encoding="utf-8")


def html_page(results: Results, plots: Sequence[Plot], pictures: Mapping[str, bytes]) -> str:
    """The page as a text: tables, plots, protocol, limits, command, versions and machine.

    Args:
        results: what was measured.
        plots: the plots, in their order.
        pictures: SVG of each plot, by its name.

    Returns:
        HTML without scripts or links to other files; every text of the results is escaped.
    """
    analyses = analyse(results)
    parts = [f"<h1>AAJR on hide-and-seek</h1><p>{escape(heading(results))}.</p>"]
    if results.scope:
        parts.append(f"<h2>What this preset can and cannot show</h2><p>{escape(results.scope)}</p>")
    if not results.runs:
        parts.append("<p>No run was finished, so there is nothing to compare.</p>")
    for analysis in analyses:
        shown = [plot for plot in plots if plot.threat == analysis.threat]
        parts.append(_threat_section(results, analysis, shown, pictures))
    parts.append(_facts_section(results))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>AAJR: {escape(results.preset)}</title><style>{CSS}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _threat_section(
    results: Results, analysis: Analysis, plots: Sequence[Plot], pictures: Mapping[str, bytes]
) -> str:
    parts = [f"<h2>Threat model: {escape(analysis.threat)}</h2>"]
    parts.append(f"<p>{escape(words.epsilon_sentence(analysis))}</p>")
    for name, sentences in paragraphs(analysis):
        kind = ' class="warnings"' if name == "Warnings" else ""
        items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
        parts.append(f"<section{kind}><h3>{escape(name)}</h3><ul>{items}</ul></section>")
    parts += [_table(sheet) for sheet in sheets(results, analysis)]
    parts += [_picture(plot, pictures[plot.name]) for plot in plots]
    return "\n".join(parts)


def _table(sheet: Sheet) -> str:
    head = "".join(f'<th scope="col">{_header(name)}</th>' for name in sheet.columns)
    rows = []
    for index, (name, *cells) in enumerate(sheet.rows):
        rule = ' class="rule"' if index in sheet.rules else ""
        body = "".join(f"<td>{_cell(cell)}</td>" for cell in cells)
        rows.append(f'<tr{rule}><th scope="row">{_cell(name)}</th>{body}</tr>')
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in sheet.notes)
    return (
        f'<div class="wide"><table><caption>{escape(sheet.title)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>{notes}"
    )


def _header(name: str) -> str:
    return "<br>".join(escape(line) for line in name.split("\n"))


def _cell(text: str) -> str:
    main, line_break, rest = text.partition("\n")
    return escape(main) + (f"<br><small>{escape(rest)}</small>" if line_break else "")


def _picture(plot: Plot, svg: bytes) -> str:
    # As an image, not inline: identifiers inside one SVG cannot meet those of another.
    source = "data:image/svg+xml;base64," + base64.b64encode(svg).decode("ascii")
    caption = escape(plot.caption)
    return (
        f'<figure><img src="{source}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'
    )


def _facts_section(results: Results) -> str:
    seeds = {
        f"{split} seeds": tuple(sorted({r.seed for r in results.runs if r.split == split}))
        for split in dict.fromkeys(run.split for run in results.runs)
    }
    groups = (
        ("Protocol", {**seeds, "reference ε": results.reference_epsilon, **results.protocol}),
        ("Versions", results.versions),
        ("Machine", results.machine),
    )
    tables = "".join(f"<h3>{name}</h3>{_facts(facts)}" for name, facts in groups if facts)
    command = f"<p>Command: <code>{escape(results.command)}</code></p>"
    return f"<h2>How these figures were made</h2>{command}{tables}"


def _facts(facts: Mapping[str, Any]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(str(name).replace("_", " "))}</th>'
        f"<td>{escape(_fact(value))}</td></tr>"
        for name, value in facts.items()
    )
    return f'<div class="wide"><table class="facts"><tbody>{rows}</tbody></table></div>'


def _fact(value: Any) -> str:
    if value is None:
        return words.MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {_fact(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_fact(item) for item in value)
    return str(value)
