"""Cells: units of a study's work, each with a file that holds its value and its provenance."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aajr
from aajr.report.files import write_json
from aajr.report.provenance import PACKAGES, machine_facts, version_facts

Record = dict[str, Any]
_FILE = "cell.json"


def digest(settings: Any) -> str:
    """Return a hash of the settings, eight characters long.

    Args:
        settings: any value that JSON can represent.

    Example:
        >>> digest({"seeds": [0, 1]})
        'e9587d11'
    """
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Store:
    """A directory of cells that share their settings.

    A cell is stale, and is computed anew, if the settings or the versions of the packages have
    changed since it was computed, or with ``source=True`` the source code of aajr. The machine is
    recorded but not compared: a run may be resumed on another machine.

    Attributes:
        directory: directory of the cells.
        settings: everything that determines the values of the cells, as JSON values.
        packages: packages whose versions also determine the values.
        source: whether any change of aajr's source code makes the cells stale; for short studies.
    """

    directory: Path
    settings: Any
    packages: tuple[str, ...] = PACKAGES
    source: bool = False

    def cell(self, name: str, function: Callable[..., Any], *arguments: Any) -> Cell:
        """Return a cell, whether or not its work is done.

        Args:
            name: unique name in the store; no other cell's directory may lie inside this one's.
            function: a module-level function; it returns the value, which JSON must represent.
            arguments: arguments of the function.
        """
        return Cell(self, name, function, arguments)

    def stamp(self) -> Record:
        """Current settings, versions and source hash, which decide whether a cell is valid."""
        return {
            "settings": json.loads(json.dumps(self.settings)),
            "versions": dict(_versions(self.packages)),
            "source": _source() if self.source else None,
        }

    def facts(self) -> Record:
        """``machine`` and ``versions`` of the valid cells; facts of several machines are joined."""
        files = sorted(self.directory.rglob(_FILE))
        found = [record for path in files if _valid(record := _read(path), self)]
        machines = [record["provenance"]["machine"] for record in found]
        return {"machine": _joined(machines), "versions": dict(_versions(self.packages))}


@dataclass(frozen=True)
class Cell:
    """A unit of work whose value is kept in a file, see :meth:`Store.cell`."""

    store: Store
    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]

    @property
    def directory(self) -> Path:
        """Directory for checkpoints and models; it is emptied if the cell is stale."""
        return self.store.directory / self.name

    @property
    def done(self) -> bool:
        """Whether the value exists and is still valid."""
        return _valid(self._kept(), self.store)

    def fill(self) -> None:
        """Do the work unless it is done. Work that was killed can resume from its own files."""
        kept, stamp = self._kept(), self.store.stamp()
        if _valid(kept, self.store):
            return
        if self.directory.exists() and (not kept or _changed(kept, stamp)):
            shutil.rmtree(self.directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        path, record = self.directory / _FILE, {"provenance": stamp | {"machine": machine_facts()}}
        write_json(path, record)  # the stamp shows whether files of a killed run are valid
        write_json(path, record | {"value": self.function(*self.arguments)})

    def value(self) -> Any:
        """Return the value of the finished work.

        Raises:
            RuntimeError: the work is not done, or was done with other settings or versions.
        """
        kept = self._kept()
        if not _valid(kept, self.store):
            raise RuntimeError(
                f"{self.directory / _FILE} {_fault(kept, self.store)}; give the same command "
                "again, on nodes with the same versions"
            )
        return kept["value"]

    def _kept(self) -> Record:
        path = self.directory / _FILE
        return _read(path) if path.exists() else {}


def _read(path: Path) -> Record:
    record: Record = json.loads(path.read_text())
    return record


def _changed(record: Record, stamp: Record) -> list[str]:
    """Names of the parts of the provenance that differ from the current stamp."""
    kept = record["provenance"]
    return [name for name, value in stamp.items() if kept.get(name) != value]


def _valid(record: Record, store: Store) -> bool:
    return "value" in record and not _changed(record, store.stamp())


def _fault(record: Record, store: Store) -> str:
    if "value" not in record:
        return "holds no finished work"
    return f"was computed with other {' and '.join(_changed(record, store.stamp()))}"


def _joined(machines: Sequence[Record]) -> Record:
    names = dict.fromkeys(name for machine in machines for name in machine)
    joined: Record = {}
    for name in names:
        values = list(dict.fromkeys(machine[name] for machine in machines if name in machine))
        joined[name] = values[0] if len(values) == 1 else "; ".join(map(str, values))
    return joined


@functools.cache
def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    return version_facts(packages)


@functools.cache
def _source() -> str:
    found = hashlib.sha256()
    for path in sorted(Path(aajr.__file__).parent.rglob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()
