"""The main job on a tiny scale: complete, resumable, equal after a kill."""

import dataclasses
import json
import shutil

import pytest
import torch

from aajr.adversaries import Divergence, LyingSources, UniformNoise
from aajr.arena.settings import Effort
from aajr.arena.training.ppo import PPOConfig
from aajr.geometry import Ball
from aajr.hide_and_seek.game import RADIO_GAME, HideAndSeekConfig
from aajr.hide_and_seek.game.threats import threat_ball
from aajr.hide_and_seek.training.builders import build_observation_adversary
from aajr.studies import InProcess, Workers
from aajr.studies.comparison import STUDY, jobs
from aajr.studies.comparison.attacks import ATTACKS, AgreedLie, suite_of
from aajr.studies.comparison.grids import PRIMARY, Method
from aajr.studies.comparison.page import write_report
from aajr.studies.comparison.presets import LEARNED_ATTACKS, PRESETS
from aajr.studies.comparison.records import read_results

TINY = dataclasses.replace(
    PRESETS["others-smoke"],
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


REPORTS = dataclasses.replace(
    PRESETS["smoke"],
    methods=(
        Method("plain", placement="none"),
        Method("plain_lies", search="noise"),
        Method("adversarial"),
        Method("adversarial_update", placement="update"),
        Method("aajr", "aajr", (0.1,), points="origin"),
        Method("random_direction", "random_direction", (0.1,), within="moved"),
        Method("median", placement="none", front="median"),
    ),
    final_seeds=(),
    validation_seeds=(101,),
    pretrain_iterations=1,
    iterations=1,
    episodes=10,
    env=dataclasses.replace(RADIO_GAME, max_steps=6),
    ppo=PPOConfig(environments=10, hidden=(8,), minibatches=2),
    effort=Effort(
        steps=1, restarts=1, critic_episodes=10, attacker_iterations=1, attacker_environments=8
    ),
    attacks=("hand_lie", "liars_ranked", "sarsa_ranked", "drift", "liars_pa_ad"),
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
    assert json.loads((tmp_path / "results.json").read_text())["preset"] == "others-smoke"


def test_the_game_of_reports_needs_no_league(tmp_path):
    results = STUDY.run(REPORTS, tmp_path, InProcess()).results
    assert not list(tmp_path.glob("*/league*"))
    assert results.protocol["opponents"] == 0
    assert results.primary == PRIMARY
    runs = {run.method: run for run in results.runs}
    assert list(runs) == [method.name for method in REPORTS.methods]
    assert {run.split for run in results.runs} == {"validation"}
    for run in runs.values():
        assert [score.attack for score in run.scores] == ["none", *REPORTS.attacks]
        assert len(run.hidden) == len(run.scores)
        largest = max(score.largest_perturbation for score in run.scores)
        assert largest <= REPORTS.reference_epsilon + 1e-5
        assert len(run.response["belief"]) == len(run.response["lie"])
        assert 0 <= run.diagnostics["silenced"] <= 1
    assert runs["plain_lies"].scores != runs["adversarial"].scores


def test_a_preset_without_opponents_needs_a_radio():
    with pytest.raises(ValueError, match="opponents=0"):
        dataclasses.replace(TINY, opponents=0)
    unknown = dataclasses.replace(REPORTS, attacks=("flattery",))
    with pytest.raises(ValueError, match="attacks='flattery' is unknown"):
        suite_of(unknown)


def test_random_lies_train_with_noise_in_place_of_the_search():
    config = REPORTS.train_config(REPORTS.methods[1], None, 0)
    ball = threat_ball(config.env, "reports", 1.0)
    lies = build_observation_adversary(config, Divergence(), ball.mask, 1.0)
    assert isinstance(lies, LyingSources)
    assert isinstance(lies.adversary, UniformNoise)
    assert REPORTS.train_config(REPORTS.methods[2], None, 0).adversary.search is None
    with pytest.raises(ValueError, match="search='luck' is unknown"):
        dataclasses.replace(config.adversary, search="luck")


def test_sources_that_lie_by_hand_agree_on_the_other_side():
    sources = torch.tensor([-1, 0, 0, 1, 1, 2, 2])
    x = torch.randn(50, 7, generator=torch.Generator().manual_seed(0))
    lies = LyingSources(AgreedLie(Ball("linf", 0.5), sources), sources, 2, "given")
    liars = torch.tensor([[True, False, True]]).expand(50, 3)
    found = lies(torch.tanh, x, torch.Generator().manual_seed(0), {"liars": liars}).worst
    told = x[:, 1:].reshape(50, 3, 2)
    moved = (found - x)[:, 1:].reshape(50, 3, 2)
    expected = -0.5 * told.median(1, keepdim=True).values.sign() * liars[:, :, None]
    torch.testing.assert_close(moved, expected)


def test_presets_are_fair():
    for chosen in PRESETS.values():
        grids = {method.weights for method in chosen.methods if method.weights}
        assert len({len(grid) for grid in grids}) == 1, "every family gets the same grid size"
        assert not set(chosen.final_seeds) & set(chosen.validation_seeds)
        assert chosen.reference_epsilon in chosen.epsilons
    assert PRESETS["standard"].episodes >= 256
    for name in ("standard", "full", "others-full"):
        assert len(PRESETS[name].final_seeds) >= 10


def test_presets_say_how_long_attackers_learn():
    assert set(LEARNED_ATTACKS) == {
        name
        for name, spec in ATTACKS.items()
        if spec.kind == "learned" and "reports" in spec.threats
    }
    for chosen in PRESETS.values():
        learns = any(spec.kind == "learned" for spec in suite_of(chosen).attacks)
        assert ("attacker_iterations" in chosen.facts["budget"]) is learns
        assert learns is (chosen.name in ("quick", "validation", "standard", "full"))


def test_the_presets_keep_their_directories(tmp_path):
    found = {name: STUDY.store(preset, tmp_path).directory.name for name, preset in PRESETS.items()}
    assert found == {
        "smoke": "comparison-a88f4fbd",
        "quick": "comparison-d0ee1d79",
        "validation": "comparison-89dbe5f0",
        "standard": "comparison-92c22aae",
        "full": "comparison-a6ab29c8",
        "others-smoke": "comparison-2e38174b",
        "others": "comparison-47d10190",
        "others-full": "comparison-dd670d76",
    }


def test_a_changed_preset_has_another_directory(tmp_path):
    longer = dataclasses.replace(TINY, iterations=3)
    assert STUDY.store(TINY, tmp_path).directory != STUDY.store(longer, tmp_path).directory


def test_an_unknown_preset_is_named():
    with pytest.raises(ValueError, match="preset='huge' is unknown"):
        STUDY.preset("huge")
