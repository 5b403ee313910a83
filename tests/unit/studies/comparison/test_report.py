"""The page with replay, curves and heat-map; the commands that make and show them."""

import dataclasses
import json
import sys
from pathlib import Path

import pytest

from aajr import cli
from aajr.arena.training.ppo import PPOConfig
from aajr.hide_and_seek.game import HideAndSeekConfig
from aajr.hide_and_seek.game.matches import Match
from aajr.hide_and_seek.replay import record_replay
from aajr.hide_and_seek.training import TrainConfig, Trainer
from aajr.studies.comparison.analysis import analyse
from aajr.studies.comparison.page import Chapter, read_chapter, write_report
from aajr.studies.comparison.records import read_results
from aajr.studies.comparison.success_plots import heatmap_plot
from aajr.studies.comparison.training_plots import learning_plot
from tests.unit.hide_and_seek.replay.parts import make_actor
from tests.unit.studies.comparison.synthetic_results import make_results

QUICK = Path(__file__).parents[4] / "results" / "others" / "results.json"
GAME = HideAndSeekConfig(max_steps=4)


def with_history(results):
    course = {"success": (0.4, 0.5, 0.6), "gradient_norm": (1.0, 2.0, 3.0)}
    runs = tuple(dataclasses.replace(run, history=course) for run in results.runs)
    return dataclasses.replace(results, runs=runs)


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["aajr", *map(str, arguments)])
    cli.main()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("run")
    match = Match(GAME, [make_actor(GAME, "seeker", 1)], 2, 5)
    actors = {name: make_actor(GAME, "hider", seed) for seed, name in enumerate(("aajr", "global"))}
    replay = record_replay(match, actors, "others", 0.2, steps=1)
    write_report(Chapter(with_history(make_results(seeds=2)), replay), directory)
    return directory


def test_results_of_the_repository_open():
    assert read_results(QUICK).runs


def test_results_of_version_one_open(tmp_path):
    results = make_results(seeds=1)
    value = json.loads(json.dumps(dataclasses.asdict(results)))
    value["schema_version"] = 1
    for item in (*value["runs"], *value["floors"]):
        del item["history"]
    (tmp_path / "results.json").write_text(json.dumps(value))
    assert read_results(tmp_path / "results.json") == results


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ({"success": (0.1,), "return": (0.1, 0.2)}, "the lengths are"),
        ({"success": (float("nan"),)}, "history.success"),
        ({"success": ("a",)}, "history.success"),
        ([1.0], r"history\n.*valid dictionary"),
    ],
)
def test_a_bad_history_is_named(history, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(make_results(seeds=1).runs[0], history=history)


def test_the_heat_map_shows_the_means():
    results = make_results(seeds=2)
    (analysis,) = analyse(results)
    figure = heatmap_plot(results, analysis).figure
    plain = figure.axes[0]
    (image,) = plain.images
    runs = [item for item in results.runs if item.method == "plain"]
    scores = [
        s.success for item in runs for s in item.scores if (s.attack, s.epsilon) == ("mad", 0.1)
    ]
    assert image.get_array()[1, 1] == pytest.approx(100 * sum(scores) / 2)


def test_learning_curves_need_a_history():
    results = make_results(seeds=2)
    (analysis,) = analyse(results)
    assert learning_plot(results, analysis) is None
    results = with_history(results)
    (analysis,) = analyse(results)
    axes = learning_plot(results, analysis).figure.axes
    assert list(axes[0].lines[0].get_ydata()) == pytest.approx([40, 50, 60])
    assert list(axes[1].lines[0].get_ydata()) == [1, 2, 3]


def test_the_page_holds_all_and_needs_nothing(finished):
    page = (finished / "report.html").read_text()
    assert read_chapter(finished).replay is not None
    assert page.count("<script") == 2
    assert 'src="http' not in page
    assert "@import" not in page
    assert "url(" not in page.partition("</style>")[0]
    assert len(page) < 3_000_000
    for kind in ("png", "svg"):
        assert len(list((finished / "plots").glob(f"*.{kind}"))) == 7


def test_report_of_one_run_is_that_of_reproduce(finished, tmp_path, monkeypatch, capsys):
    run(monkeypatch, "report", finished, "--output", tmp_path)
    assert (tmp_path / "report.html").read_bytes() == (finished / "report.html").read_bytes()
    assert "Report:" in capsys.readouterr().out


def test_several_runs_follow_one_another(finished, tmp_path, monkeypatch):
    run(monkeypatch, "report", finished, finished, "--output", tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert page.count('<section class="replay"') == 2
    assert page.count("new Player(section)") == 1
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"run_0", "run_1"}


def test_a_directory_without_results_is_named(tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, "report", tmp_path)
    assert "holds no results.json" in capsys.readouterr().err


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    ppo = PPOConfig(environments=4, hidden=(8,))
    config = TrainConfig(iterations=1, learners=("hider", "seeker"), env=GAME, ppo=ppo)
    directory = tmp_path_factory.mktemp("league")
    list(Trainer(config, directory=directory).run())
    return directory / "checkpoint.safetensors"


@pytest.mark.parametrize("attack", ["none", "noise", "pgd_mad"])
def test_watch_plays_in_the_terminal(checkpoint, monkeypatch, capsys, attack):
    run(monkeypatch, "watch", checkpoint, "--attack", attack, "--seed", "3")
    out = capsys.readouterr().out
    assert "step 4/4" in out
    assert ("clean" if attack == "none" else f"{attack}, ε = 0.2") in out


def test_watch_writes_a_gif(checkpoint, tmp_path, monkeypatch):
    path = tmp_path / "episode.gif"
    run(monkeypatch, "watch", checkpoint, "--gif", path)
    assert path.read_bytes().startswith(b"GIF89a")
