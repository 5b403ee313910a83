"""``aajr theory`` as a user runs it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

import pytest

import aajr.studies.theory as package
from aajr.studies.theory import TheoryConfig
from aajr.studies.theory._price import PriceConfig

TINY = TheoryConfig(
    problems=10,
    stepped=2,
    chunk=5,
    price=PriceConfig(gammas=(1.0,), seeds=(0, 1), updates=5, judged=16, hidden=4),
)


@pytest.fixture
def run(aajr, monkeypatch, tmp_path) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.setitem(package.PRESETS, "smoke", TINY)
    places = ["--output", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    return partial(aajr, "theory", "--preset", "smoke", "--workers", "1", *places)


def test_tables_are_printed_and_written_and_a_violation_is_said_aloud(run, monkeypatch, tmp_path):
    kept, honest = {}, package.study

    def keeping(*arguments):
        kept.update(honest(*arguments))
        return kept

    monkeypatch.setattr(package, "study", keeping)
    status, output, _ = run("--problems", "5")
    assert status == 0
    assert "0 violations" in output
    assert "effective smoothness" in output
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    assert len(written["problems"]) == 5
    assert (tmp_path / "out" / "plots" / "price_of_robustness.svg").is_file()

    kept["statements"][0]["violations"] = 3
    monkeypatch.setattr(package, "study", lambda *arguments: kept)
    status, output, _ = run()
    assert status == 1
    assert "3 violations" in output


@pytest.mark.parametrize(
    ("flag", "value", "word"),
    [("--problems", "0", "problems=0"), ("--seed", "-1", "seed=-1"), ("--problems", "x", "")],
)
def test_bad_input_ends_with_status_two(run, flag, value, word):
    status, _, errors = run(flag, value)
    assert status == 2
    assert word in errors
