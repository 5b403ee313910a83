"""Packages that load a name's own module at its first use."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

PACKAGES = (
    "aajr",
    "aajr.arena",
    "aajr.certification",
    "aajr.hide_and_seek.game",
    "aajr.hide_and_seek.training",
)
ONE_BALL = """
import sys, aajr
assert not {name for name in sys.modules if name.startswith("aajr.")} - {
    "aajr._errors", "aajr._lazy"
}, "a bare import loads a module"
aajr.Ball
assert "aajr.geometry" in sys.modules
strangers = ("adversaries", "penalties", "jacobian", "minimax", "diagnostics", "theory")
assert not {f"aajr.{name}" for name in strangers} & set(sys.modules)
"""


def imports_for_the_type_checker(package: ModuleType) -> dict[str, str]:
    tree = ast.parse(Path(package.__file__).read_text(encoding="utf-8"))
    (guarded,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If)
        and node.body[0].lineno
        and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    return {alias.name: node.module for node in guarded.body for alias in node.names}


@pytest.mark.parametrize("name", PACKAGES)
def test_both_lists_of_names_agree(name):
    package = import_module(name)
    homes = imports_for_the_type_checker(package)
    eager = set(package.__all__) - set(homes)
    assert set(homes) <= set(package.__all__), "an import for the type checker is not in __all__"
    assert eager <= set(vars(package)), "__all__ holds a name that is not imported"
    assert set(package.__all__) <= set(dir(package))
    for exported, home in homes.items():
        assert getattr(package, exported) is getattr(sys.modules[home], exported)


@pytest.mark.parametrize("name", PACKAGES)
def test_an_unknown_name_is_an_attribute_error(name):
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'Bal'"):
        _ = import_module(name).Bal


def test_one_name_loads_one_package():
    done = subprocess.run([sys.executable, "-c", ONE_BALL], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
