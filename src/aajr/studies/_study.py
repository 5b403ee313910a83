"""A study: presets, stages of cells, gathered results and their report."""

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
        """The results for the terminal."""

    def write(self, results: Shown, directory: Path) -> None:
        """Write ``results.json``, tables and plots to a directory."""


@dataclass(frozen=True)
class Study(Generic[Settings, Found]):
    """A study, which ``aajr study NAME`` runs.

    Attributes:
        name: name of the study.
        presets: settings by name of the preset; settings are frozen dataclasses.
        stages: function of settings and store that yields the stages, each a title and its cells. A
            later stage may read the values of earlier stages.
        gather: function of settings, store and facts (``command``, ``machine``, ``versions``) that
            returns the raw results.
        report: shows and writes the results.
        output: directory below ``results``; ``{preset}`` is replaced by the preset's name.
        decisive: function of the settings that returns everything that determines the cells'
            values, as JSON values; by default all settings.
        packages: packages whose versions also determine the values.
        source: whether any change of aajr's source code makes the cells stale; for short studies.
        timed: whether the study measures times; its jobs then run one after another.
        failed: function of the results; if it returns True, the command exits with status 1.
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
        """Return the settings of a preset, with changes.

        Args:
            name: name of the preset.
            changes: strings ``NAME=VALUE``. Each changes a number, string, bool or numbers with
                commas between them; ``adversary.epsilon`` names a setting inside another one.

        Raises:
            ValueError: the preset or a name is unknown, or a value does not fit.
        """
        check_choice("preset", name, tuple(self.presets))
        settings = self.presets[name]
        for change in changes:
            settings = _changed(settings, change)
        return settings

    def store(self, settings: Settings, work: Path) -> Store:
        """The store of the cells of these settings."""
        decisive = self.decisive(settings)
        directory = work / f"{self.name}-{digest(decisive)}"
        return Store(directory, decisive, self.packages, self.source)

    def command(self, settings: Settings) -> str:
        """The command that runs these settings: the closest preset and the changes to it."""
        changes = {name: _changes(preset, settings) for name, preset in self.presets.items()}
        name = min(changes, key=lambda name: len(changes[name]))
        command = shlex.join(["aajr", "study", self.name, "--preset", name])
        if not all(map(_is_plain, changes[name].values())):
            return f"settings of no preset; the closest is {command}"
        words = [f"{field}={_written(value)}" for field, value in changes[name].items()]
        return shlex.join([*shlex.split(command), *(["--set", *words] if words else [])])

    def run(self, settings: Settings, work: Path, pool: Pool | None = None) -> Found:
        """Run the cells that are not yet done, and gather the raw results.

        Args:
            settings: settings of the study.
            work: directory of the stores; a second call with the same directory resumes.
            pool: pool that runs the cells; by default one process per core, or this process if the
                study measures times.
        """
        store = self.store(settings, work)
        with pool or (InProcess(threads=None) if self.timed else Workers()) as pool:
            run_stages(pool, self.stages(settings, store))
        facts = {"command": self.command(settings), **store.facts()}
        return self.gather(settings, store, facts)


def run_stages(pool: Pool, stages: Iterable[Stage]) -> None:
    """Fill the cells of every stage that are not done."""
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
    """Choose the best candidate on the validation seeds.

    Args:
        candidates: candidates to compare.
        records: returns a candidate's records, one for every validation seed.
        measures: functions of a record, by name; their means over the seeds are compared.
        aim: names of the measures whose sum is maximised.
        able: name of a measure; a candidate whose mean is below ``share`` of the greatest mean is
            not chosen, because it no longer does its task. None for no such condition.
        share: see ``able``.

    Returns:
        The best candidate, the first one of equals, and every candidate with its means.
    """

    def means(candidate: Candidate) -> dict[str, float]:
        found = records(candidate)
        return {
            name: float(np.mean([f(record) for record in found])) for name, f in measures.items()
        }

    tried = allowed = [(candidate, means(candidate)) for candidate in candidates]
    if able is not None:
        most = max(found[able] for _, found in tried)
        enough = most - (1 - share) * abs(most)  # abs, because a measure may be negative
        allowed = [(candidate, found) for candidate, found in tried if found[able] >= enough]
    best, _ = max(allowed, key=lambda pair: sum(pair[1][name] for name in aim))
    return best, tried


def _changed(settings: Any, change: str) -> Any:
    name, _, text = change.partition("=")
    plain = {name: value for name, value in _leaves(settings) if _is_plain(value)}
    check_choice("set", name, tuple(plain))
    try:
        value = _parsed(text, plain[name])
    except ValueError as error:
        raise ValueError(
            f"set={change!r} is not allowed; {name} takes a value like {_written(plain[name])}"
        ) from error
    return _replaced(settings, name.split("."), value)


def _parsed(text: str, present: Any) -> Any:
    """The value that a text stands for, of the present value's type."""
    if isinstance(present, tuple):
        return tuple(type(present[0])(part) for part in text.split(","))
    return bool(json.loads(text)) if isinstance(present, bool) else type(present)(text)


def _written(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _replaced(settings: Any, path: Sequence[str], value: Any) -> Any:
    name, *rest = path
    new = _replaced(getattr(settings, name), rest, value) if rest else value
    return dataclasses.replace(settings, **{name: new})


def _leaves(settings: Any) -> list[tuple[str, Any]]:
    """All settings by name, also those inside others."""
    found: list[tuple[str, Any]] = []
    for f in dataclasses.fields(settings):
        value = getattr(settings, f.name)
        if dataclasses.is_dataclass(value):
            found += [(f"{f.name}.{name}", inner) for name, inner in _leaves(value)]
        else:
            found.append((f.name, value))
    return found


def _changes(preset: Any, settings: Any) -> Record:
    """The settings that differ by name; None where no change of the preset can give them."""
    before, after = dict(_leaves(preset)), dict(_leaves(settings))
    changed = {name: value for name, value in after.items() if value != before.get(name)}
    return {name: value if _is_plain(before.get(name)) else None for name, value in changed.items()}


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple):
        return bool(value) and all(isinstance(one, int | float) for one in value)
    return isinstance(value, bool | int | float | str)
