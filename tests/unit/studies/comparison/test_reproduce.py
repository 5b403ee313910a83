"""The main job on a tiny scale: complete, resumable, equal after a kill."""

import dataclasses
import json
import shutil

import pytest
import torch

from aajr.arena.ppo import PPOConfig
from aajr.arena.settings import Effort
from aajr.hide_and_seek.game import HideAndSeekConfig
from aajr.studies import InProcess, Workers
from aajr.studies.comparison import STUDY, jobs
from aajr.studies.comparison.page import write_report
from aajr.studies.comparison.presets import PRESETS, Method
from aajr.studies.comparison.records import read_results

TINY = dataclasses.replace(
    PRESETS["smoke"],
    methods=(
        Method("plain", placement="none"),
        Method("adversarial"),
        Method("aajr", "aajr", (0.1,)),
    ),
    validation_seeds=(100,),
    league_iterations=1,
    pretrain_iterations=1,
    iterations=2,
    epsilons=(0.1, 0.2),
    episodes=10,
    env=HideAndSeekConfig(max_steps=6),
    ppo=PPOConfig(environments=10, hidden=(8,)),
    effort=Effort(steps=1, restarts=1, critic_episodes=10),
    critics=1,
)


def scores_of(results):
    return [(run.method, run.seed, run.split, run.scores, run.diagnostics) for run in results.runs]


def untimed(run):
    return dataclasses.replace(run, overhead=None, seconds_per_update=None)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    work = tmp_path_factory.mktemp("work")
    return work, STUDY.run(TINY, work, Workers(1))


def test_every_cell_is_there(finished):
    results = finished[1].results
    cells = {(run.method, run.weight, run.seed) for run in results.runs}
    assert cells == {
        (name, weight, seed)
        for name, weight in (("plain", None), ("adversarial", None), ("aajr", 0.1))
        for seed in (0, 100)
    }
    final = next(run for run in results.runs if run.seed == 0)
    radii = {score.epsilon for score in final.scores}
    assert radii == {0.0, 0.1, 0.2}
    assert {run.method for run in results.floors} == {"motionless", "random"}


def test_a_killed_run_goes_on_to_the_same_numbers(finished, tmp_path):
    work, chapter = finished
    copy = tmp_path / "work"
    shutil.copytree(work, copy)
    space = jobs.Workspace(TINY, STUDY.store(TINY, copy))
    shutil.rmtree(space.trained(TINY.methods[2], 0.1, 0).directory)
    shutil.rmtree(space.curve(TINY.methods[0], None, 0).directory)
    assert scores_of(STUDY.run(TINY, copy, InProcess()).results) == scores_of(chapter.results)


def test_figures_depend_neither_on_workers_nor_on_threads(finished, tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        other = STUDY.run(TINY, tmp_path, Workers(2)).results
    finally:
        torch.set_num_threads(before)
    results = finished[1].results
    assert [untimed(run) for run in other.runs] == [untimed(run) for run in results.runs]
    assert other.floors == results.floors


def test_the_report_is_written_and_read_back(finished, tmp_path):
    _, chapter = finished
    write_report(chapter, tmp_path)
    assert read_results(tmp_path / "results.json") == chapter.results
    assert "<html" in (tmp_path / "report.html").read_text()
    assert json.loads((tmp_path / "results.json").read_text())["preset"] == "smoke"


def test_presets_are_fair():
    for chosen in PRESETS.values():
        grids = {method.weights for method in chosen.methods if method.weights}
        assert len({len(grid) for grid in grids}) == 1, "every family gets the same grid size"
        assert not set(chosen.final_seeds) & set(chosen.validation_seeds)
        assert chosen.reference_epsilon in chosen.epsilons
    assert PRESETS["full"].episodes >= 500
    assert len(PRESETS["full"].final_seeds) >= 10


def test_the_presets_keep_their_directories(tmp_path):
    found = {name: STUDY.store(preset, tmp_path).directory.name for name, preset in PRESETS.items()}
    assert found == {
        "smoke": "comparison-58a5834b",
        "quick": "comparison-5c41a092",
        "full": "comparison-bd6de990",
    }


def test_a_changed_preset_has_another_directory(tmp_path):
    longer = dataclasses.replace(TINY, iterations=3)
    assert STUDY.store(TINY, tmp_path).directory != STUDY.store(longer, tmp_path).directory


def test_an_unknown_preset_is_named():
    with pytest.raises(ValueError, match="preset='huge' is unknown"):
        STUDY.preset("huge")
