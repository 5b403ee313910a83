"""Every public name stands in the documentation."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DIRECTIVE = re.compile(r"^\.\. (currentmodule|auto\w+|data):: *(\S+)", re.MULTILINE)
WITHOUT_PAGES = {
    "aajr._shared": "its docstrings stand at the classes of both sides",
    "aajr.studies": "a study is run by its command",
    "aajr.integrations.benchmarl": "needs another TorchRL than the one that builds the pages",
}


def source(module: str) -> Path:
    path = ROOT / "src" / Path(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def tree(module: str) -> ast.Module:
    path = source(module)
    return ast.parse(path.read_text(encoding="utf-8") if path.exists() else "")


def home(name: str) -> str:
    """The dotted name under which something is defined, through all re-exports."""
    module, _, last = name.rpartition(".")
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("aajr"):
            for alias in node.names:
                if (alias.asname or alias.name) == last:
                    return home(f"{node.module}.{alias.name}")
    return name


def exported(module: str) -> list[str]:
    for node in tree(module).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return []


def packages() -> Iterator[str]:
    for path in sorted((ROOT / "src").rglob("__init__.py")):
        yield ".".join(path.relative_to(ROOT / "src").parent.parts)


def documented() -> set[str]:
    found = set()
    for page in (ROOT / "docs").rglob("*.md"):
        current = ""
        for kind, name in DIRECTIVE.findall(page.read_text(encoding="utf-8")):
            if kind == "currentmodule":
                current = name
            else:
                found.add(home(name if name.startswith("aajr") else f"{current}.{name}"))
    return found


PUBLIC = [
    package
    for package in packages()
    if exported(package) and not package.startswith(tuple(WITHOUT_PAGES))
]


@pytest.mark.parametrize("package", PUBLIC)
def test_every_public_name_has_an_entry(package):
    known = documented()
    missing = [name for name in exported(package) if home(f"{package}.{name}") not in known]
    assert not missing, f"{package}: add an autodoc directive under docs/ for each of {missing}"


def test_names_are_followed_to_where_they_are_defined():
    assert home("aajr.Ball") == home("aajr.geometry.Ball") == "aajr.geometry._ball.Ball"
    assert home("aajr.jax.Ball") == "aajr.jax._ball.Ball"
    assert {"aajr", "aajr.jax", "aajr.theory"} <= set(PUBLIC)
