"""Cells: pieces of a study's work, each with a file that holds its value and where it came from."""

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
    """Eight letters that change with the settings.

    Args:
        settings: anything that JSON holds.

    Example:
        >>> digest({"seeds": [0, 1]})
        'e9587d11'
    """
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Store:
    """A directory of cells that share their settings.

    A cell is valid as long as settings, versions of the packages and, where asked for, the text of
    aajr's source are those of now; otherwise it is computed anew. The machine is recorded only: a
    run may go on elsewhere.

    Attributes:
        directory: of the cells.
        settings: all that decides their values, as JSON holds it.
        packages: whose versions decide them too.
        source: whether any change of aajr's source makes the cells stale; for studies of minutes.
    """

    directory: Path
    settings: Any
    packages: tuple[str, ...] = PACKAGES
    source: bool = False

    def cell(self, name: str, function: Callable[..., Any], *arguments: Any) -> Cell:
        """A piece of work, done or not.

        Args:
            name: unique in the store; no other cell's directory may lie inside its own.
            function: at the top of a module; what it returns, as JSON holds it, is the value.
            arguments: of the function.
        """
        return Cell(self, name, function, arguments)

    def stamp(self) -> Record:
        """What the validity of a cell depends on, as it is now."""
        return {
            "settings": json.loads(json.dumps(self.settings)),
            "versions": dict(_versions(self.packages)),
            "source": _source() if self.source else None,
        }

    def facts(self) -> Record:
        """``machine`` and ``versions`` that computed the valid cells; machines are joined."""
        files = sorted(self.directory.rglob(_FILE))
        found = [record for path in files if _valid(record := _read(path), self)]
        machines = [record["provenance"]["machine"] for record in found]
        return {"machine": _joined(machines), "versions": dict(_versions(self.packages))}


@dataclass(frozen=True)
class Cell:
    """A piece of work whose value is kept, see :meth:`Store.cell`."""

    store: Store
    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]

    @property
    def directory(self) -> Path:
        """Where the work may keep checkpoints and models; emptied when the cell is stale."""
        return self.store.directory / self.name

    @property
    def done(self) -> bool:
        """Whether the value is there and still valid."""
        return _valid(self._kept(), self.store)

    def fill(self) -> None:
        """Do the work unless it is done; work that was killed goes on from what it left."""
        kept, stamp = self._kept(), self.store.stamp()
        if _valid(kept, self.store):
            return
        if self.directory.exists() and (not kept or _changed(kept, stamp)):
            shutil.rmtree(self.directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        path, record = self.directory / _FILE, {"provenance": stamp | {"machine": machine_facts()}}
        write_json(path, record)  # so that what a killed run leaves is known by its stamp
        write_json(path, record | {"value": self.function(*self.arguments)})

    def value(self) -> Any:
        """What the work returned.

        Raises:
            RuntimeError: it is not done, or was done with other settings or versions.
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
    """What of the provenance is not as it is now."""
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
