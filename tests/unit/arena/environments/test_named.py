"""Objects by their names."""

import math
import sys

import pytest

from aajr.arena.environments.named import resolve


@pytest.fixture
def module(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "made_here.py").write_text("class Box:\n    inside = 3\n")
    (tmp_path / "made_badly.py").write_text("import nowhere_at_all\n")
    yield
    for name in ("made_here", "made_badly"):
        sys.modules.pop(name, None)


def test_a_name_leads_to_its_object(module):
    assert resolve("math:tau") == math.tau
    assert resolve("made_here:Box.inside") == 3
    assert resolve("made_here:Box") is sys.modules["made_here"].Box


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("math.tau", "names no object"),
        ("math:", "names no object"),
        (":tau", "names no object"),
        ("../math:tau", "names no object"),
        ("math:tua", "math has no attribute 'tua'"),
        ("made_here:Box.outside", r"made_here.Box has no attribute 'outside'"),
        ("no_such_module:thing", "no module 'no_such_module'"),
        ("math.deeper:thing", "no module 'math.deeper'"),
    ],
)
def test_a_wrong_name_says_what_is_wrong(module, name, message):
    with pytest.raises(ValueError, match=message):
        resolve(name)


def test_a_module_that_cannot_be_imported_shows_its_own_error(module):
    with pytest.raises(ModuleNotFoundError, match="nowhere_at_all"):
        resolve("made_badly:thing")
