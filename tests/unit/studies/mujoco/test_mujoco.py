"""The yardstick on a tiny scale: complete, resumable bit for bit, its pieces against oracles."""

import dataclasses
import json
from functools import partial

import numpy as np
import pytest
import torch

from aajr import VertexSearch
from aajr.arena.attacks.steering import Steered, best_director
from aajr.integrations.sb3 import load_agent
from aajr.studies import InProcess, Workers
from aajr.studies.mujoco import PROTOCOLS, STUDY
from aajr.studies.mujoco import _study as runs
from aajr.studies.mujoco import _training as training
from aajr.studies.mujoco._attacks import FIVE, played, suite_of, victim_of, worst
from aajr.studies.mujoco._protocol import METHODS, PUBLISHED
from aajr.trajectory import Reference

TINY = dataclasses.replace(
    PROTOCOLS["smoke"],
    steps=512,
    environments=2,
    rollout=128,
    epochs=2,
    episodes=3,
    final_seeds=(0, 1),
    critic_steps=300,
    methods=tuple(
        dataclasses.replace(method, candidates=method.candidates[:1])
        for method in METHODS
        if method.name in ("plain", "aajr")
    ),
)
HOPPER = dataclasses.replace(
    TINY, name="hopper", environment="Hopper-v5", epsilon=0.075, search="gradient"
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    work = tmp_path_factory.mktemp("work")
    return work, STUDY.run(TINY, work, Workers(1))


def final_agent(work):
    store = STUDY.store(TINY, work)
    return load_agent(runs.agent_cell(TINY, store, TINY.methods[0], 0.3, 0).directory)


def built(protocol, victim, **options):
    """How to build every attack, by name."""
    ball = victim.ball(protocol.epsilon)
    return {s.name: partial(s.build, ball, victim) for s in suite_of(protocol, **options).attacks}


def test_every_agent_meets_every_attack_inside_the_ball(finished):
    _, results = finished
    assert {(a["method"], a["seed"]) for a in results["agents"]} == {
        (name, seed) for name in ("plain", "aajr") for seed in (0, 1)
    }
    for agent in results["agents"]:
        names = set(agent["returns"])
        assert all(
            any(name.startswith(family) for name in names) for family in (*FIVE, "push", "steer")
        )
        assert all(len(values) == TINY.episodes for values in agent["returns"].values())
        for name, radius in agent["largest_perturbation"].items():
            low, high = (0, 0) if name == "none" else (0.5 * TINY.epsilon, 1.001 * TINY.epsilon)
            assert low <= radius <= high
    assert [record["seed"] for record in results["thorough"]] == [0, 0]


def test_a_finished_study_is_only_read(finished, monkeypatch):
    work, results = finished
    monkeypatch.setattr(training, "_agent", None)  # any training would fail
    again = STUDY.run(TINY, work, InProcess())
    assert json.dumps(again["agents"]) == json.dumps(results["agents"])


def test_the_report_is_written_and_shows_whose_figures_are_whose(finished, tmp_path):
    _, results = finished
    STUDY.report.write(results, tmp_path)
    table = (tmp_path / "table.md").read_text()
    assert "not ours: SA-DDPG (SGLD)" in table
    assert "median 423" in table
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {
        f"{name}.{kind}" for name in ("agents", "attacks") for kind in ("png", "svg")
    }
    assert json.loads((tmp_path / "results.json").read_text())["command"] == results["command"]
    assert STUDY.report.render(results).renderables


@pytest.mark.parametrize("protocol", [TINY, HOPPER], ids=lambda protocol: protocol.name)
def test_a_killed_training_goes_on_to_the_same_agent(protocol, tmp_path, monkeypatch):
    method = protocol.methods[1]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    training.train(protocol, protocol.methods[0], 1.0, 9, tmp_path / "reference", None)
    statistics = load_agent(tmp_path / "reference").normalisation
    arguments = (protocol, method, 0.1, 0)
    training.train(*arguments, whole, statistics)
    segments, calls = training.learn_in_segments, []

    def stop(*run):
        for done in segments(*run):
            calls.append(done)
            if done:
                raise KeyboardInterrupt
            yield done

    monkeypatch.setattr(training, "learn_in_segments", stop)
    with pytest.raises(KeyboardInterrupt):
        training.train(*arguments, killed, statistics)
    monkeypatch.setattr(training, "learn_in_segments", segments)
    assert calls == [0, 1]
    training.train(*arguments, killed, statistics)
    first, second = (load_agent(path) for path in (whole, killed))
    for a, b in zip(first.policy.parameters(), second.policy.parameters(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(first.normalisation.mean, statistics.mean)
    victim = victim_of(second, protocol, 2, 0)
    attack = built(protocol, victim)["mad"]()
    found = played(victim, "mad", attack)
    assert 0 < found.score.largest_perturbation <= 1.001 * protocol.epsilon
    assert victim.unit == "L∞, observations divided by the reference agent's standard deviations"


def test_the_radius_grows_between_two_shares_of_the_run():
    protocol = dataclasses.replace(TINY, steps=1280, epochs=3, batch=100, ramp=(0.25, 0.75))
    epsilon, updates = training.ramp(protocol, 0.4), 3 * 3  # 256 rows in batches of 100
    found = [epsilon(update) for update in range(5 * updates)]
    expected = [0.0, 0.0, 0.4 * (0.4 - 0.25) / 0.5, 0.4 * (0.6 - 0.25) / 0.5, 0.4]
    assert found == pytest.approx([value for value in expected for _ in range(updates)])


def test_the_search_is_the_protocols_and_the_check_goes_another_way(finished):
    work, _ = finished
    agent = final_agent(work)
    gradient = dataclasses.replace(TINY, search="gradient", attack_steps=7, attack_restarts=2)
    victim = victim_of(agent, TINY, 2, 0)
    usual, climbed = (built(p, victim)["mad"]() for p in (TINY, gradient))
    assert isinstance(usual, VertexSearch)
    assert (climbed.steps, climbed.restarts) == (7, 2)
    check = built(TINY, victim, thorough=True)["mad"]()
    assert (check.steps, check.restarts) == (TINY.thorough_steps, TINY.thorough_restarts)
    x = torch.linspace(-1, 1, 24).reshape(6, 4)
    results = [a(agent.policy, x, torch.Generator().manual_seed(0)) for a in (usual, climbed)]
    assert bool((results[0].losses[-1] >= results[1].losses.amax(0) - 1e-6).all())


def test_the_worst_is_over_the_families_named():
    returns = {"none": [0.0], "mad": [5.0, 7.0], "push_up": [2.0], "rs_mad_0.3": [4.0]}
    assert worst(returns, FIVE) == (4.0, "rs_mad_0.3")
    assert worst(returns, [""]) == (2.0, "push_up")


def test_pushing_moves_the_mean_action_one_way(finished):
    work, _ = finished
    agent = final_agent(work)
    x = torch.linspace(-1, 1, 24).reshape(6, 4)
    found = built(TINY, victim_of(agent, TINY, 2, 0))
    clean = agent.policy(x)[:, 0]
    for name, sign in (("push_up", 1), ("push_down", -1)):
        attack = found[name]()
        trajectory = attack(agent.policy, x, torch.Generator().manual_seed(0))
        assert (sign * (agent.policy(trajectory.worst)[:, 0] - clean) > 0).all()
        reference = Reference(x, agent.policy(x))
        torch.testing.assert_close(attack.objective(agent.policy(x), reference), sign * clean)


def test_a_director_says_which_way_each_action_goes():
    director = Steered(torch.tensor([[1.0, 0.0], [0.0, -2.0]]))
    x = torch.tensor([[3.0, 5.0], [-1.0, 5.0], [0.0, -1.0]])
    output = torch.tensor([[10.0, 1.0, 0.0, 0.0]] * 3)
    found = director(output, Reference(x, output))
    assert found.tolist() == [9.0, -11.0, 1.0]


def test_the_director_of_least_return_is_kept():
    best = best_director(lambda d: float(d.weights[0, 1]), 3, 2, draws=50, seed=0)
    others = [best_director(lambda d: float(d.weights[0, 1]), 3, 2, draws, 0) for draws in (0, 5)]
    assert others[0].weights.tolist() == [[0.0, -1.0, 0.0]] * 2
    values = [float(d.weights[0, 1]) for d in (best, others[1], others[0])]
    assert values == sorted(values)
    assert values[0] < -1


def test_a_candidate_must_still_do_its_task(tmp_path):
    method = dataclasses.replace(METHODS[-1], candidates=(1.0, 2.0, 3.0))
    protocol = dataclasses.replace(TINY, validation_seeds=(5,))
    cases = {1.0: (1000, 100), 2.0: (960, 300), 3.0: (900, 900)}
    store = STUDY.store(protocol, tmp_path)
    for value, (natural, attacked) in cases.items():
        returns = {
            "none": [natural],
            "mad": [attacked],
            "critic": [natural],
            "push_up": [natural],
            "steer": [natural],
        }
        cell = runs._examined(protocol, store, method, value, 5, "validation")
        dataclasses.replace(cell, function=dict, arguments=({"returns": returns},)).fill()
    assert runs.choose(protocol, store, method)["value"] == 2.0


def test_every_method_has_the_same_budget():
    for protocol in PROTOCOLS.values():
        tuned = [method for method in protocol.methods if method.name != "recipe"]
        assert len({len(method.candidates) for method in tuned}) == 1
        assert not set(protocol.final_seeds) & {
            *protocol.validation_seeds,
            protocol.reference_seed,
        }
        assert protocol.steps % (
            protocol.segments * protocol.environments * protocol.rollout
        ) == 0 or (protocol.name == "smoke")
        assert PUBLISHED[protocol.environment]
    assert len(PROTOCOLS["standard"].final_seeds) >= 11
    assert np.isclose(PROTOCOLS["standard"].epsilon, 0.3)
