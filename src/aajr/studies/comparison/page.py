"""The report as files: ``results.json``, ``replay.json``, plots, one page that needs no network."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from aajr.hide_and_seek.replay import Replay, read_replay, replay_section, write_replay
from aajr.hide_and_seek.replay._section import asset
from aajr.report import wording
from aajr.report.figures import Plot, save
from aajr.report.tables import Sheet
from aajr.studies.comparison import verdicts
from aajr.studies.comparison.analysis import Analysis, analyse
from aajr.studies.comparison.plots import draw
from aajr.studies.comparison.records import Results, read_results, write_results
from aajr.studies.comparison.tables import heading, paragraphs, sheets

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
@media screen and (max-width: 40rem) { .wide > img { max-width: none; width: 38rem; } }
@media print { body { max-width: none; font-size: 10pt; padding: 0; }
  figure, table { break-inside: avoid; } .wide { overflow: visible; } table { font-size: 7.5pt; }
  th, td { padding: .15rem .3rem; } }
"""


@dataclass(frozen=True)
class Chapter:
    """What the page tells of one comparison.

    Attributes:
        results: what was measured.
        replay: recorded episodes, or None.
    """

    results: Results
    replay: Replay | None = None


def write_report(results: Results, directory: Path, replay: Replay | None = None) -> None:
    """Write ``results.json``, ``plots/*.png`` and ``plots/*.svg``, and ``report.html``.

    The same results give the same bytes. Empty results give a page that says so.

    Args:
        results: what was measured.
        directory: where to write; it is made if need be.
        replay: recorded episodes; kept as ``replay.json``. None takes the file that is there.
    """
    directory.mkdir(parents=True, exist_ok=True)
    write_results(results, directory / "results.json")
    if replay is not None:
        write_replay(replay, directory / "replay.json")
    write_page([read_chapter(directory)], directory)


def read_chapter(directory: Path) -> Chapter:
    """What a directory holds: ``results.json`` and, where it was recorded, ``replay.json``.

    Raises:
        FileNotFoundError: no results.
        ValueError: files that are not what they should be.
    """
    results = read_results(directory / "results.json")
    path = directory / "replay.json"
    return Chapter(results, read_replay(path) if path.exists() else None)


def write_page(chapters: Sequence[Chapter], directory: Path) -> None:
    """Write ``report.html`` and the plots of one comparison, or of several one after another.

    Args:
        chapters: comparisons, in their order.
        directory: where to write; it is made if need be.

    Raises:
        ValueError: no chapter.
    """
    if not chapters:
        raise ValueError("chapters is empty; give at least one directory with a results.json")
    directory.mkdir(parents=True, exist_ok=True)
    bodies = []
    for index, chapter in enumerate(chapters):
        plots = draw(chapter.results)
        # plots of several chapters have the same names
        folder = directory / "plots" / (f"run_{index}" if len(chapters) > 1 else "")
        paths = save(plots, folder) if plots else []
        pictures = {path.stem: path.read_bytes() for path in paths if path.suffix == ".svg"}
        bodies.append(_chapter(chapter, plots, pictures))
    page = html_page(bodies, ", ".join(chapter.results.preset for chapter in chapters))
    if any(chapter.replay for chapter in chapters):
        # at the end: the script finds the sections already there
        page = page.replace("</body>", f"<script>{asset('replay.js')}</script></body>")
    (directory / "report.html").write_text(page, encoding="utf-8")


def html_page(bodies: Sequence[str], name: str) -> str:
    """A page of chapters.

    Args:
        bodies: HTML of each chapter.
        name: what the page is about, for its title.

    Returns:
        HTML without links to other files.
    """
    style = CSS + asset("replay.css")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>AAJR: {escape(name)}</title><style>{style}</style></head>\n<body>\n"
        "<h1>AAJR on hide-and-seek</h1>" + "\n<hr>\n".join(bodies) + "\n</body></html>\n"
    )


def _chapter(chapter: Chapter, plots: Sequence[Plot], pictures: Mapping[str, bytes]) -> str:
    results = chapter.results
    parts = [f"<p>{escape(heading(results))}.</p>"]
    if results.scope:
        parts.append(f"<h2>What this preset can and cannot show</h2><p>{escape(results.scope)}</p>")
    if not results.runs:
        parts.append("<p>No run was finished, so there is nothing to compare.</p>")
    for analysis in analyse(results):
        shown = [plot for plot in plots if plot.threat == analysis.threat]
        parts.append(_threat_section(results, analysis, shown, pictures))
    if chapter.replay is not None:
        parts.append(replay_section(chapter.replay))
    parts.append(_facts_section(results))
    return "\n".join(parts)


def _threat_section(
    results: Results, analysis: Analysis, plots: Sequence[Plot], pictures: Mapping[str, bytes]
) -> str:
    parts = [f"<h2>Threat model: {escape(analysis.threat)}</h2>"]
    parts.append(f"<p>{escape(verdicts.epsilon_sentence(analysis))}</p>")
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
        f'<figure><div class="wide"><img src="{source}" alt="{caption}"></div>'
        f"<figcaption>{caption}</figcaption></figure>"
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
        return wording.MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {_fact(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_fact(item) for item in value)
    return str(value)
