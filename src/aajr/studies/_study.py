"""A study: presets, stages of cells, what is gathered from them and how it is shown."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from rich.console import RenderableType

from aajr._settings import check_choice
from aajr.report.provenance import PACKAGES
from aajr.studies._store import Cell, Record, Store, digest
from aajr.studies._workers import InProcess, Pool, Workers

Settings = TypeVar("Settings")
Found = TypeVar("Found")
Shown = TypeVar("Shown", contravariant=True)
Candidate = TypeVar("Candidate")
Stage = tuple[str, Sequence[Cell]]


class Report(Protocol[Shown]):
    """How the results of a study are shown, see :class:`aajr.report.study.StudyReport`."""

    def render(self, results: Shown) -> RenderableType:
        """What a terminal shows."""

    def write(self, results: Shown, directory: Path) -> None:
        """Write ``results.json``, tables and plots to a directory."""


@dataclass(frozen=True)
class Study(Generic[Settings, Found]):
    """What ``aajr study NAME`` runs.

    Attributes:
        name: of the study.
        presets: its settings, frozen dataclasses, by name.
        stages: from settings and store to titles and cells, stage after stage; a later stage may
            read the values of an earlier one.
        gather: from settings, store and facts (``command``, ``machine``, ``versions``) to the raw
            results.
        report: shows them.
        output: directory below ``results``; ``{preset}`` is filled in.
        decisive: all that decides the cells' values, as JSON holds it; the settings by default.
        packages: whose versions decide them too.
        source: whether any change of aajr's source makes the cells stale; for studies of minutes.
        timed: whether times are measured, so that the jobs run alone, one after another.
        failed: whether the results are such that the command must end with status 1.
    """

    name: str
    presets: Mapping[Any, Settings]
    stages: Callable[[Settings, Store], Iterable[Stage]]
    gather: Callable[[Settings, Store, Record], Found]
    report: Report[Found]
    output: str
    decisive: Callable[[Any], Any] = dataclasses.asdict
    packages: tuple[str, ...] = PACKAGES
    source: bool = False
    timed: bool = False
    failed: Callable[[Found], bool] = lambda results: False

    def preset(self, name: str, changes: Sequence[str] = ()) -> Settings:
        """The settings of a preset.

        Args:
            name: of the preset.
            changes: ``NAME=VALUE`` each, for a number or word of the settings.

        Raises:
            ValueError: an unknown preset or name, or a value that does not fit.
        """
        check_choice("preset", name, tuple(self.presets))
        settings = self.presets[name]
        return dataclasses.replace(settings, **_parsed(settings, changes))  # type: ignore[type-var]

    def store(self, settings: Settings, work: Path) -> Store:
        """Where the cells of these settings lie."""
        decisive = self.decisive(settings)
        directory = work / f"{self.name}-{digest(decisive)}"
        return Store(directory, decisive, self.packages, self.source)

    def command(self, settings: Settings) -> str:
        """The command that runs these settings: the nearest preset and what differs from it."""
        changes = {name: _changes(preset, settings) for name, preset in self.presets.items()}
        name = min(changes, key=lambda name: len(changes[name]))
        command = shlex.join(["aajr", "study", self.name, "--preset", name])
        if not all(map(_is_plain, changes[name].values())):
            return f"settings of no preset, close to those of {command}"
        words = [f"{field}={value}" for field, value in changes[name].items()]
        return shlex.join([*shlex.split(command), *(["--set", *words] if words else [])])

    def run(self, settings: Settings, work: Path, pool: Pool | None = None) -> Found:
        """Run whatever of the study is not yet done, and gather its raw results.

        Args:
            settings: of the study.
            work: directory of cells; a second call goes on from there.
            pool: where the cells are filled; by default as many processes as cores, or this process
                where times are measured.
        """
        store = self.store(settings, work)
        with pool or (InProcess(threads=None) if self.timed else Workers()) as pool:
            run_stages(pool, self.stages(settings, store))
        facts = {"command": self.command(settings), **store.facts()}
        return self.gather(settings, store, facts)


def run_stages(pool: Pool, stages: Iterable[Stage]) -> None:
    """Fill the cells of every stage; those that are done are left alone."""
    for title, cells in stages:
        left = [cell for cell in cells if not cell.done]
        pool.run(title, [(cell.fill, ()) for cell in left], done=len(cells) - len(left))


def tuned(
    candidates: Sequence[Candidate],
    records: Callable[[Candidate], Sequence[Any]],
    measures: Mapping[str, Callable[[Any], float]],
    aim: Sequence[str],
    able: str | None = None,
    share: float = 0.95,
) -> tuple[Candidate, list[tuple[Candidate, dict[str, float]]]]:
    """The candidate of the greatest aim on the validation seeds.

    Args:
        candidates: what is tried.
        records: of a candidate, one for every validation seed.
        measures: of a record, by name; the mean over the seeds counts.
        aim: measures whose sum is to be greatest.
        able: a candidate counts only with ``share`` of the greatest mean of this measure, so that
            what no longer does its task is not chosen.
        share: see ``able``.

    Returns:
        The first of the best, and every candidate with its means.
    """

    def means(candidate: Candidate) -> dict[str, float]:
        found = records(candidate)
        return {
            name: float(np.mean([f(record) for record in found])) for name, f in measures.items()
        }

    tried = allowed = [(candidate, means(candidate)) for candidate in candidates]
    if able is not None:
        most = max(found[able] for _, found in tried)
        enough = most - (1 - share) * abs(most)  # a measure may be below zero
        allowed = [(candidate, found) for candidate, found in tried if found[able] >= enough]
    best, _ = max(allowed, key=lambda pair: sum(pair[1][name] for name in aim))
    return best, tried


def _parsed(settings: Any, changes: Sequence[str]) -> Record:
    found: Record = {}
    plain = [f.name for f in dataclasses.fields(settings) if _is_plain(getattr(settings, f.name))]
    for change in changes:
        name, _, text = change.partition("=")
        check_choice("set", name, plain)
        kind = type(getattr(settings, name))
        try:
            found[name] = kind(json.loads(text)) if kind is bool else kind(text)
        except ValueError as error:
            raise ValueError(
                f"set={change!r} is not allowed; {name} takes a value like "
                f"{getattr(settings, name)!r}"
            ) from error
    return found


def _changes(preset: Any, settings: Any) -> Record:
    values = {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings)}
    return {name: value for name, value in values.items() if value != getattr(preset, name)}


def _is_plain(value: object) -> bool:
    return isinstance(value, bool | int | float | str)
