"""A report with a replay, and a browser to look at it."""

import dataclasses
import os
import shutil
from pathlib import Path

import pytest

from aajr.arena.agents.actors import Actor
from aajr.hide_and_seek.game import HideAndSeekConfig
from aajr.hide_and_seek.game.matches import Match
from aajr.hide_and_seek.replay import record_replay
from aajr.studies.comparison.page import Chapter, write_report
from tests.unit.hide_and_seek.replay.parts import make_actor
from tests.unit.studies.comparison.synthetic_results import make_results

NAMES = ("chromium", "chromium-browser", "google-chrome")


def pytest_configure(config):
    config.addinivalue_line("markers", "browser: needs Playwright and an installed Chromium")


@pytest.fixture(scope="module")
def browser():
    """The installed browser. Playwright's event loop ends with the module, for others' sake."""
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("no Chromium on the PATH; on Debian: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=path)
        yield found
        found.close()


@pytest.fixture
def visit(browser, report):
    """Opens the report in a tab of a given size; at the end the tab must have seen no errors."""
    contexts, errors = [], []

    def log(message):
        if message.type in ("error", "warning"):
            errors.append(message.text)

    def check(request):
        if not request.url.startswith(("file:", "data:", "about:")):
            errors.append(f"request to {request.url}")

    def opened(width=1100, height=900, **options):
        size = {"width": width, "height": height}
        contexts.append(
            browser.new_context(
                viewport=size, device_scale_factor=2, is_mobile=width < 600, **options
            )
        )
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", log)
        page.on("request", check)
        page.goto(report.as_uri())
        clock = "document.querySelector('section.replay [data-part=clock]')"
        page.wait_for_function(f"{clock}.textContent.startsWith('step 0')")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def page(visit):
    return visit()


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
