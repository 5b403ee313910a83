"""Cells, stages, choices and progress, against hand-made cases."""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from aajr.report.study import StudyReport
from aajr.studies import InProcess, Store, Study, Workers, tuned
from aajr.studies import _progress as progress
from aajr.studies import _store as stores
from aajr.studies._study import run_stages


@dataclasses.dataclass(frozen=True)
class Inner:
    width: int = 2
    ends: tuple[float, ...] = (0.5, 1.0)


@dataclasses.dataclass(frozen=True)
class Sizes:
    name: str = "small"
    count: int = 3
    rate: float = 0.5
    seeds: tuple[int, ...] = (0,)
    fast: bool = False
    inner: Inner = Inner()
    words: tuple[str, ...] = ("a",)
    other: Inner | None = None


def count(place: Path, goal: int) -> int:
    """Counts its own calls in its directory."""
    log = place / "calls.txt"
    calls = int(log.read_text()) + 1 if log.exists() else 1
    log.write_text(str(calls))
    if calls < goal:
        raise KeyboardInterrupt
    return calls


def square(number: int) -> int:
    return number**2


def fail() -> None:
    raise ValueError("number=7 is bad; use another")


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path, {"seeds": (0, 1)}, ("aajr", "torch"))


def counting(store: Store, goal: int = 1):
    return store.cell("a", count, store.directory / "a", goal)


def test_a_cell_is_computed_once_and_names_where_it_came_from(store):
    cell = counting(store)
    with pytest.raises(RuntimeError, match="holds no finished work"):
        cell.value()
    for _ in range(2):
        cell.fill()
        assert (cell.done, cell.value()) == (True, 1)
    kept = json.loads((cell.directory / "cell.json").read_text())["provenance"]
    assert kept["settings"] == {"seeds": [0, 1]}
    assert set(kept["versions"]) == {"aajr", "torch"}
    assert kept["machine"]["python"]
    assert store.facts() == {"machine": kept["machine"], "versions": kept["versions"]}


def test_a_killed_cell_goes_on_from_what_it_left(store):
    with pytest.raises(KeyboardInterrupt):
        counting(store, goal=2).fill()
    assert not counting(store).done
    counting(store, goal=2).fill()
    assert counting(store).value() == 2


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("change", ["settings", "versions", "source"])
def test_a_change_that_matters_starts_a_cell_from_nothing(store, monkeypatch, change, finished):
    if change == "source":
        store = dataclasses.replace(store, source=True)
    try:
        counting(store, goal=1 if finished else 5).fill()
    except KeyboardInterrupt:
        assert not finished
    if change == "settings":
        store = dataclasses.replace(store, settings={"seeds": (0, 2)})
    elif change == "versions":
        monkeypatch.setattr(stores, "_versions", lambda packages: {"torch": "9"})
    else:
        monkeypatch.setattr(stores, "_source", lambda: "other")
    cell = counting(store)
    assert not cell.done
    with pytest.raises(RuntimeError, match=f"other {change}" if finished else "no finished work"):
        cell.value()
    cell.fill()
    assert cell.value() == 1


def test_source_and_machine_do_not_matter_unasked(store, monkeypatch):
    counting(store).fill()
    monkeypatch.setattr(stores, "_source", lambda: "other")
    monkeypatch.setattr(stores, "machine_facts", lambda: {"processor": "other"})
    assert counting(store).done
    store.cell("b", square, 2).fill()
    assert store.facts()["machine"]["processor"].endswith("; other")


def test_facts_leave_out_what_does_not_count(store, monkeypatch):
    store.cell("b", square, 2).fill()
    other = dataclasses.replace(store, settings=None)
    monkeypatch.setattr(stores, "machine_facts", lambda: {"processor": "other"})
    other.cell("c", square, 2).fill()
    assert "other" not in store.facts()["machine"]["processor"]


@pytest.mark.parametrize("make", [InProcess, lambda: Workers(2)], ids=["here", "processes"])
def test_stages_run_in_order_and_an_error_ends_them(store, make):
    first = [store.cell(f"first_{n}", square, n) for n in range(3)]

    def stages():
        yield "first", first
        yield "second", [store.cell(f"second_{c.value()}", square, c.value()) for c in first]
        yield "third", [store.cell("third", fail)]

    with make() as pool, pytest.raises(ValueError, match="number=7 is bad"):
        run_stages(pool, stages())
    assert [store.cell(f"second_{n**2}", square, 0).value() for n in range(3)] == [0, 1, 16]


def test_finished_cells_are_not_handed_in(store):
    counting(store).fill()
    with InProcess() as pool:
        run_stages(pool, [("one", [counting(store), store.cell("b", square, 3)])])
    assert (store.directory / "a" / "calls.txt").read_text() == "1"


def test_lines_tell_pace_and_remaining_time():
    said, now = [], [0.0]
    lines = progress.Lines("train", 10, 4, said.append, lambda: now[0])
    for seconds, finished in ((10.0, 1), (40.0, 1), (41.0, 0), (75.0, 0), (80.0, 4)):
        now[0] = seconds
        lines.tell(finished)
    assert said == [
        "train: 4/10",
        "train: 6/10, 3 a minute, 0:01:20 left",
        "train: 6/10, 1.6 a minute, 0:02:30 left",
        "train: 10/10, 4.5 a minute, 0:00:00 left",
    ]


def test_lines_promise_nothing_before_the_first_is_done():
    said, now = [], [0.0]
    lines = progress.Lines("train", 2, 0, said.append, lambda: now[0])
    now[0] = 61.0
    lines.tell(0)
    assert said[1] == "train: 0/2, 0:01:01 so far"


def test_where_there_is_no_terminal_there_are_lines(capsys):
    with progress.stage_progress("train", 2, 1) as tell:
        tell(1)
    first, last = capsys.readouterr().err.splitlines()
    assert (first, last.partition(",")[0]) == ("train: 1/2", "train: 2/2")


def test_a_terminal_shows_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(progress, "Console", partial(Console, force_terminal=True, width=80))
    with progress.stage_progress("train", 4, 1) as tell:
        tell(2)
    assert "3/4" in capsys.readouterr().err


STUDY = Study(
    name="squares",
    presets={"small": Sizes(), "large": Sizes("large", count=9, fast=True)},
    stages=lambda sizes, store: [("all", [store.cell("s", square, sizes.count)])],
    gather=lambda sizes, store, facts: {"s": store.cell("s", square, 0).value(), **facts},
    report=StudyReport("Squares", lambda results: []),
    output="squares",
)


def test_a_study_runs_and_names_its_command(tmp_path):
    found = STUDY.run(STUDY.preset("large", ["count=4", "fast=false"]), tmp_path, InProcess())
    assert found["s"] == 16
    assert found["command"] == "aajr study squares --preset small --set name=large count=4"
    assert found["versions"]["aajr"]
    small = STUDY.run(Sizes(), tmp_path, InProcess())
    assert (small["s"], small["command"]) == (9, "aajr study squares --preset small")


def test_the_named_command_gives_the_same_settings():
    settings = STUDY.preset("small", ["rate=0.25", "seeds=1,2", "inner.width=4", "inner.ends=3"])
    assert settings == Sizes(rate=0.25, seeds=(1, 2), inner=Inner(4, (3.0,)))
    words = STUDY.command(settings).split()
    assert STUDY.preset(words[4], words[6:]) == settings


@pytest.mark.parametrize("settings", [Sizes(words=("b",)), Sizes(other=Inner())])
def test_settings_that_no_command_gives_are_said_to_be_so(settings):
    found = STUDY.command(settings)
    assert found == "settings of no preset; the closest is aajr study squares --preset small"


@pytest.mark.parametrize(
    "change",
    [
        "words=b",
        "size=1",
        "count=1.5",
        "rate=fast",
        "fast=maybe",
        "seeds=1.5",
        "inner=1",
        "inner.x=1",
    ],
)
def test_a_bad_change_is_named(change):
    with pytest.raises(ValueError, match=r"set='"):
        STUDY.preset("small", [change])


CASES = {
    1: [{"clean": 1.0, "worst": 0.2}, {"clean": 1.0, "worst": 0.4}],
    2: [{"clean": 0.96, "worst": 0.5}, {"clean": 0.96, "worst": 0.7}],
    3: [{"clean": 0.9, "worst": 0.9}, {"clean": 0.9, "worst": 0.9}],
}
MEASURES = {name: (lambda record, name=name: record[name]) for name in ("clean", "worst")}


def test_the_choice_asks_for_the_task_where_asked():
    best, tried = tuned(tuple(CASES), CASES.get, MEASURES, ("worst",), able="clean")
    assert best == 2
    assert [candidate for candidate, _ in tried] == [1, 2, 3]
    assert tried[0][1] == pytest.approx({"clean": 1.0, "worst": 0.3})
    assert tuned(tuple(CASES), CASES.get, MEASURES, ("worst",))[0] == 3
    assert tuned(tuple(CASES), CASES.get, MEASURES, ("clean", "worst"))[0] == 3


def test_the_first_of_equals_is_chosen_and_scores_below_zero_are_able():
    negative = {1: [{"clean": -1.0, "worst": -3.0}], 2: [{"clean": -1.2, "worst": 0.0}]}
    assert tuned((1, 2), negative.get, MEASURES, ("worst",), able="clean")[0] == 1
    assert tuned((2, 1), lambda c: CASES[3], MEASURES, ("worst",))[0] == 2
