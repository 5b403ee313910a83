"""The fleet's training, the study from end to end, its resumption and its tables."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
import torch

from aajr.arena.settings import Effort
from aajr.arena.training.advantages import rows_of
from aajr.arena.training.collection import LearningTeam
from aajr.arena.training.ppo import PPOConfig
from aajr.hide_and_seek.training.config import LearnerConfig
from aajr.studies import InProcess
from aajr.studies.comparison.grids import PRIMARY
from aajr.studies.fleet import PRESETS, STUDY
from aajr.studies.fleet._environment import Crossing
from aajr.studies.fleet._report import REPORT, records
from aajr.studies.fleet._study import METHODS, choices
from aajr.studies.fleet._training import GROUP, actor_of, collect, learner_of, train
from aajr.studies.fleet._world import FleetConfig

WORLD = FleetConfig(vehicles=3, steps=4)
PPO = PPOConfig(environments=4, epochs=1, minibatches=1, hidden=(8,))
TINY = dataclasses.replace(
    PRESETS["smoke"],
    world=WORLD,
    methods=tuple(
        dataclasses.replace(method, weights=method.weights[:2])
        for method in METHODS
        if method.name in ("plain", "adversarial", "aajr", "random_direction")
    ),
    seeds=(0, 1),
    validation=(100,),
    pretraining=1,
    iterations=1,
    ppo=PPO,
    epsilons=(0.5, 1.0),
    episodes=10,
    effort=Effort(steps=1, restarts=1, critic_episodes=10),
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    work = tmp_path_factory.mktemp("work")
    return STUDY.run(TINY, work, InProcess()), work


def test_collected_rows_are_those_of_the_record(generator):
    match = Crossing(WORLD, episodes=5, seed=3)
    actor = actor_of(WORLD, (8,), None, generator)
    data, record = collect(match, LearningTeam(actor, torch.Generator().manual_seed(1)))
    assert torch.equal(data[GROUP, "observation"], record.observation)
    assert torch.equal(data[GROUP, "perceived"], record.observation)
    assert torch.equal(data[GROUP, "action"], record.action)
    after = data["next", GROUP, "observation"]
    assert torch.equal(after[:, :-1], record.observation[:, 1:])
    assert torch.equal(data["next", GROUP, "reward"].squeeze(-1), record.reward)
    done = data["next", "done"].squeeze(-1)
    assert bool(done[:, -1].all())
    assert not bool(done[:, :-1].any())
    rows = rows_of(data, GROUP, torch.nn.Linear(match.features, 1), PPO)
    assert rows.shape == (5 * 4 * 3,)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_method_trains(method):
    config = TINY.learner_config(method, (method.weights or (None,))[0], 7)
    learner = learner_of(WORLD, config, method.front)
    before = learner.actor.network[0].weight.clone()
    course = train(learner, WORLD)
    assert len(course["unhurt"]) == 1
    assert not torch.equal(learner.actor.network[0].weight, before)
    assert bool(torch.isfinite(learner.actor.network[0].weight).all())


def test_agents_in_attacked_rollouts_meet_lies_of_k_sources():
    method = next(m for m in METHODS if m.name == "adversarial")
    learner = learner_of(WORLD, TINY.learner_config(method, None, 7))
    team = learner.player(0, torch.Generator().manual_seed(0))
    x = Crossing(WORLD, 6, 0).reset().observation
    delta = (team(x)["perceived"] - x).flatten(0, 1)
    assert bool((delta[:, WORLD.reporters < 0] == 0).all())
    lied = (delta[:, WORLD.reporters >= 0].reshape(-1, 5, 2) != 0).any(-1).sum(1)
    assert lied.tolist() == [2] * 18


def test_training_depends_on_the_seed_alone():
    def weights(seed: int) -> torch.Tensor:
        learner = learner_of(WORLD, LearnerConfig(1, seed, PPO))
        torch.rand(3)
        train(learner, WORLD)
        return learner.actor.network[0].weight

    assert torch.equal(weights(4), weights(4))
    assert not torch.equal(weights(4), weights(5))


def test_the_study_from_end_to_end(finished):
    results, _ = finished
    # two methods without weights, two with two: six choices on three seeds
    assert len(results["runs"]) == 6 * 3
    for run in results["runs"]:
        full = run["selected"] and run["split"] == "final"
        epsilons = {score["epsilon"] for score in run["scores"]}
        assert epsilons == ({0.0, 0.5, 1.0} if full else {0.0, 1.0})
        for score in run["scores"]:
            assert score["success"] <= score["arrived"]
            assert score["success"] + score["collided"] <= 1 + 1e-6
    chosen = {(r["method"], r["weight"]) for r in results["runs"] if r["selected"]}
    assert len(chosen) == 4
    assert [run.method for run in records(results).runs].count("aajr") == 6


def test_a_killed_study_goes_on_to_the_same_numbers(finished, tmp_path):
    results, work = finished
    copy = tmp_path / "work"
    shutil.copytree(work, copy)
    (store,) = copy.iterdir()
    for place in ("curves", "methods/aajr_0.001_1"):
        shutil.rmtree(store / place)
    kept = {path: path.stat().st_mtime_ns for path in store.rglob("cell.json")}
    again = STUDY.run(TINY, copy, InProcess())
    assert json.dumps(again) == json.dumps(results)
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())


def test_the_report_is_written(finished, tmp_path):
    results, _ = finished
    STUDY.report.write(results, tmp_path)
    text = (tmp_path / "table.md").read_text()
    for title in ("arrive unhurt", "collide at least once", "Frontiers", "minus each other"):
        assert title in text
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert {"frontiers.png", "epsilon.png"} <= names


def test_figures_of_the_tables():
    """The lowest success and the highest collisions over the attacks count."""
    run = {"weight": None, "family": None, "split": "final", "selected": True, "zeroed": 0.25}
    common = {"diagnostics": {}, "critic_r2": []}

    def score(attack, epsilon, success, collided):
        return {
            "attack": attack,
            "epsilon": epsilon,
            "success": success,
            "collided": collided,
            "episodes": 4,
            "mean_return": 0.0,
            "arrived": 1.0,
            "won": 0.0,
        }

    scores = [
        score("none", 0.0, 0.9, 0.1),
        score("hand_lie", 1.0, 0.4, 0.3),
        score("liars_mad", 1.0, 0.2, 0.7),
    ]
    runs = [
        {"method": name, "seed": seed, **run, **common, "scores": scores}
        for name in ("plain", "aajr")
        for seed in range(5)
    ]
    settings = dataclasses.asdict(dataclasses.replace(PRESETS["smoke"], epsilons=(1.0,)))
    unhurt, collisions, *_ = REPORT.tables({"runs": runs, "settings": settings})
    assert [cell.split()[0] for cell in unhurt.rows[0][2:]] == ["90.0", "20.0", "25.0"]
    assert [cell.split()[0] for cell in collisions.rows[0][2:]] == ["10.0", "70.0", "liars_mad"]


def test_the_weight_of_best_worst_case_is_chosen_unless_it_costs_too_much(monkeypatch):
    found = {0.001: (0.8, 0.3), 0.003: (0.75, 0.5), 0.01: (0.6, 0.6)}

    class Kept:
        def __init__(self, weight):
            self.weight = weight

        def value(self):
            clean, worst = found[self.weight]
            return {"scores": [{"success": clean}, {"success": worst}]}

    monkeypatch.setattr(
        "aajr.studies.fleet._study._trained", lambda settings, store, m, weight, seed: Kept(weight)
    )
    aajr = next(m for m in METHODS if m.name == "aajr")
    aajr = dataclasses.replace(aajr, weights=tuple(found))
    settings = dataclasses.replace(TINY, methods=(aajr,))
    assert choices(settings, None) == [(aajr, 0.003)]
    assert choices(dataclasses.replace(settings, kept=0.5), None) == [(aajr, 0.01)]
    assert choices(dataclasses.replace(settings, validation=()), None) == [(aajr, 0.003)]


def test_presets_repeat_the_comparison():
    standard = PRESETS["standard"]
    names = {method.name for method in standard.methods}
    assert names == {*PRIMARY, "aajr", "sa", "median", "plain", "plain_lies"}
    assert (len(standard.seeds), len(standard.validation)) == (5, 2)
    assert not set(standard.seeds) & set(standard.validation)
    assert {len(m.weights) for m in standard.methods} == {0, 3}
    assert {len(m.weights) for m in PRESETS["quick"].methods} == {0, 1}
