"""``aajr theory`` as a user runs it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import pytest

import aajr.evaluation.theory as package
from aajr.cli import main
from aajr.evaluation.theory import TheoryConfig
from aajr.evaluation.theory._price import PriceConfig

TINY = TheoryConfig(
    problems=10,
    stepped=2,
    chunk=5,
    price=PriceConfig(gammas=(1.0,), seeds=(0, 1), updates=5, judged=16, hidden=4),
)


@pytest.fixture
def run(monkeypatch, capsys, tmp_path) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.setitem(package.PRESETS, "smoke", TINY)

    def call(*arguments: str) -> tuple[int, str, str]:
        places = ["--output", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
        fixed = ["theory", "--preset", "smoke", "--workers", "1", *places]
        monkeypatch.setattr(sys, "argv", ["aajr", *fixed, *arguments])
        status = 0
        try:
            main()
        except SystemExit as error:
            status = int(error.code or 0)
        output, errors = capsys.readouterr()
        return status, output, errors

    return call


def test_the_tables_are_printed_and_written_with_their_names(run, tmp_path):
    status, output, _ = run("--problems", "5")
    assert status == 0
    assert "0 violations" in output
    assert "effective smoothness" in output
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    assert len(written["problems"]) == 5
    assert (tmp_path / "out" / "plots" / "price_of_robustness.svg").is_file()


def test_a_violation_ends_with_status_one_and_is_said_aloud(run, monkeypatch):
    honest = package.study

    def broken(*arguments):
        results = honest(*arguments)
        results["statements"][0]["violations"] = 3
        return results

    monkeypatch.setattr(package, "study", broken)
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
