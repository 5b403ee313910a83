"""The rooms of the library: nobody imports another's private parts, and none holds too much."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "src"
LARGEST_SHARE = 1 / 5
SHARED_ROOFS = ("integrations", "studies")  # each host and each study is a room of its own


def imported(tree: ast.Module, package: tuple[str, ...]) -> Iterator[str]:
    """Full dotted names of all that a module imports; ``package`` holds it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            origin = (*above, *([node.module] if node.module else []))
            yield from (".".join((*origin, alias.name)) for alias in node.names)


def trespasses(name: str, room: str) -> bool:
    """Whether an import of ``name`` reaches a private part of another room.

    A private module beside the rooms, as ``aajr._checks``, is open to all, but its private names
    are not.
    """
    root, *path = name.split(".")
    if root != "aajr" or not path or path[0] == room:
        return False
    return any(part.startswith("_") for part in path[1:])


def modules() -> Iterator[tuple[tuple[str, ...], Path]]:
    """Dotted parts and path of every module of the library."""
    for path in sorted(SOURCES.joinpath("aajr").rglob("*.py")):
        yield path.relative_to(SOURCES).with_suffix("").parts, path


def private_imports() -> set[tuple[str, str]]:
    found = set()
    for parts, path in modules():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for name in imported(tree, parts[:-1]):
            if trespasses(name, parts[1]):
                found.add((".".join(parts), name))
    return found


def test_no_room_imports_anothers_private_parts():
    assert not private_imports()


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ("from aajr.geometry._ball import Ball", True),
        ("import aajr.geometry._ball", True),
        ("from aajr.geometry import _ball", True),
        ("from ..geometry._ball import Ball", True),
        ("def late():\n    from aajr._checks import _hidden", True),
        ("from aajr.geometry import Ball", False),
        ("from aajr._checks import check_count", False),
        ("from aajr.penalties._base import Penalty", False),
        ("from ._base import Penalty", False),
        ("from torch._C import Graph", False),
    ],
)
def test_the_walk_tells_private_from_public(source, wrong):
    names = imported(ast.parse(source), ("aajr", "penalties"))
    assert any(trespasses(name, "penalties") for name in names) is wrong


def test_no_room_holds_more_than_a_fifth_of_the_lines():
    lines: Counter[tuple[str, ...]] = Counter()
    for (_, *inside), path in modules():
        room = tuple(inside[: 2 if inside[0] in SHARED_ROOFS else 1])
        lines[room] += len(path.read_text(encoding="utf-8").splitlines())
    room, most = lines.most_common(1)[0]
    assert most <= LARGEST_SHARE * lines.total(), f"{'/'.join(room)} has {most} lines"
