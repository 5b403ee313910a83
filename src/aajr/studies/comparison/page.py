"""Write a report as files: ``results.json``, ``replay.json``, plots and one offline HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from aajr.hide_and_seek.replay import Replay, read_replay, replay_section, write_replay
from aajr.report.figures import save
from aajr.report.pages import render
from aajr.studies.comparison import verdicts
from aajr.studies.comparison.analysis import Analysis, analyse
from aajr.studies.comparison.plots import draw
from aajr.studies.comparison.records import Results, read_results, write_results
from aajr.studies.comparison.tables import heading, paragraphs, tables
from aajr.studies.methods import method_title


@dataclass(frozen=True)
class Chapter:
    """One comparison in a report.

    Attributes:
        results: the measurements.
        replay: recorded episodes, or None.
    """

    results: Results
    replay: Replay | None = None

    @cached_property
    def analyses(self) -> tuple[Analysis, ...]:
        """The analyses of the results, one for each threat."""
        return analyse(self.results)


def write_report(chapter: Chapter, directory: Path) -> None:
    """Write ``results.json``, ``plots/*.png`` and ``plots/*.svg``, and ``report.html``.

    The same results give the same bytes. Empty results give a page that says so.

    Args:
        chapter: results and replay; a replay is written to ``replay.json``.
        directory: directory to write to; it is created if it does not exist.
    """
    directory.mkdir(parents=True, exist_ok=True)
    write_results(chapter.results, directory / "results.json")
    if chapter.replay is not None:
        write_replay(chapter.replay, directory / "replay.json")
    write_page([chapter], directory)


def read_chapter(directory: Path) -> Chapter:
    """Read ``results.json`` and, if it exists, ``replay.json`` from a directory.

    Raises:
        FileNotFoundError: there is no ``results.json``.
        ValueError: a file does not have the expected content.
    """
    results = read_results(directory / "results.json")
    path = directory / "replay.json"
    return Chapter(results, read_replay(path) if path.exists() else None)


def write_page(chapters: Sequence[Chapter], directory: Path) -> None:
    """Write ``report.html`` and the plots of one or several comparisons.

    Args:
        chapters: the comparisons, in the order of the page.
        directory: directory to write to; it is created if it does not exist.

    Raises:
        ValueError: there is no chapter.
    """
    if not chapters:
        raise ValueError("chapters is empty; give at least one directory with a results.json")
    directory.mkdir(parents=True, exist_ok=True)
    shown = []
    for index, chapter in enumerate(chapters):
        # one directory per chapter, because plots of several chapters have the same names
        place = directory / "plots" / (f"run_{index}" if len(chapters) > 1 else "")
        shown.append(_chapter(chapter, place))
    page = render("studies/comparison/page.html", chapters=shown)
    (directory / "report.html").write_text(page, encoding="utf-8")


def _chapter(chapter: Chapter, place: Path) -> dict[str, Any]:
    """The template variables of a chapter; writes its plots to ``place``."""
    results = chapter.results
    return {
        "results": results,
        "heading": heading(results),
        "threats": [_threat(results, analysis, place) for analysis in chapter.analyses],
        "replay": "" if chapter.replay is None else replay_section(chapter.replay, method_title),
        "facts": _facts(results),
    }


def _threat(results: Results, analysis: Analysis, place: Path) -> dict[str, Any]:
    plots = draw(results, analysis)
    save(plots, place)
    return {
        "name": analysis.threat,
        "introduction": verdicts.epsilon_sentence(analysis),
        "paragraphs": paragraphs(analysis),
        "tables": tables(results, analysis),
        "plots": plots,
    }


def _facts(results: Results) -> dict[str, Mapping[str, Any]]:
    seeds = {
        f"{split} seeds": tuple(sorted({r.seed for r in results.runs if r.split == split}))
        for split in dict.fromkeys(run.split for run in results.runs)
    }
    protocol = {**seeds, "reference ε": results.reference_epsilon, **results.protocol}
    return {"Protocol": protocol, "Versions": results.versions, "Machine": results.machine}
