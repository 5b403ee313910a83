"""``aajr study`` as a user runs it."""

from __future__ import annotations

import dataclasses
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
    return partial(aajr, "study", "theory", "--preset", "smoke", "--workers", "1", *places)


def test_tables_are_printed_and_written_and_a_violation_is_said_aloud(run, monkeypatch, tmp_path):
    status, output, errors = run("--set", "problems=5")
    assert status == 0
    assert "statements: 1/1" in errors
    assert "0 violations" in output
    assert "effective smoothness" in output
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    assert len(written["problems"]) == 5
    assert (tmp_path / "out" / "plots" / "price_of_robustness.svg").is_file()

    assert written["command"] == "aajr study theory --preset smoke --set problems=5"

    def broken(config, store, facts):
        written["statements"][0]["violations"] = 3
        return written

    study = dataclasses.replace(package.STUDY, gather=broken)
    monkeypatch.setattr(package, "STUDY", study)
    status, output, _ = run()
    assert status == 1
    assert "3 violations" in output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--set", "problems=0"), "problems=0 is not allowed"),
        (("--set", "seed=-1"), "seed=-1 is not allowed"),
        (("--set", "problems=x"), "set='problems=x' is not allowed; problems takes a value like"),
        (("--set", "size=1"), "set='size' is unknown; choose one of 'problems', 'stepped'"),
        (("--preset", "huge"), "preset='huge' is unknown; choose one of 'smoke', 'full'"),
    ],
)
def test_bad_input_ends_with_one_line_and_status_two(run, arguments, words):
    status, _, errors = run(*arguments)
    assert status == 2
    assert errors.startswith(f"aajr: {words}")
    assert errors.count("\n") == 1
