"""A report with a replay, and a browser to look at it."""

import dataclasses
import os
from pathlib import Path

import pytest

from aajr.arena.agents import Actor
from aajr.hide_and_seek.game import HideAndSeekConfig
from aajr.hide_and_seek.game.matches import Match
from aajr.hide_and_seek.replay import record_replay
from aajr.studies.comparison.page import Chapter, write_report
from tests.browser.chromium import Browser, find_chromium
from tests.unit.hide_and_seek.replay.parts import make_actor
from tests.unit.studies.comparison.synthetic_results import make_results


def pytest_configure(config):
    config.addinivalue_line("markers", "browser: needs a headless Chromium")


@pytest.fixture(scope="session")
def browser():
    path = find_chromium()
    if path is None:
        pytest.skip("no Chromium on the PATH; on Debian: apt-get install chromium")
    with Browser(path) as found:
        yield found


@pytest.fixture(scope="session")
def report(tmp_path_factory):
    game = HideAndSeekConfig(max_steps=16)
    seeker: Actor = make_actor(game, "seeker", 1)
    match = Match(game, [seeker], 2, 5)
    actors = {name: make_actor(game, "hider", seed) for seed, name in enumerate(("aajr", "global"))}
    replay = record_replay(match, actors, "others", 0.2, steps=2)
    results = make_results(seeds=3)
    runs = tuple(
        dataclasses.replace(run, history={"success": (0.4, 0.5, 0.6)}) for run in results.runs
    )
    directory = tmp_path_factory.mktemp("report")
    write_report(Chapter(dataclasses.replace(results, runs=runs), replay), directory)
    return directory / "report.html"


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    chosen = os.environ.get("AAJR_SCREENSHOTS")
    directory = Path(chosen) if chosen else tmp_path_factory.mktemp("pictures")
    directory.mkdir(parents=True, exist_ok=True)
    return directory
