"""The study on a tiny scale: complete, resumable, its pieces against oracles."""

import dataclasses
import json
from functools import partial

import numpy as np
import pytest
import torch

from aajr import ProjectedGradientAscent, VertexSearch
from aajr.arena.attacks.steering import Steered, best_director
from aajr.jax import AAJR, Minimax, UniformNoise
from aajr.jax.ppo import PPOConfig, Ramp, load_player
from aajr.jax.ppo._checkpoint import described
from aajr.studies import InProcess, Workers
from aajr.studies.mujoco import PROTOCOLS, STUDY
from aajr.studies.mujoco import _study as runs
from aajr.studies.mujoco._attacks import SEVEN, SIX, played, suite_of, victim_of, worst
from aajr.studies.mujoco._protocol import (
    BESIDE,
    EVERY,
    LSTM,
    METHODS,
    PUBLISHED,
    published,
)
from aajr.trajectory import Reference

TINY = dataclasses.replace(
    PROTOCOLS["smoke"],
    config=PPOConfig(
        steps=512, environments=2, rollout=64, epochs=2, minibatches=2, hidden=(8,), segment=2
    ),
    episodes=3,
    final_seeds=(0, 1),
    critic_steps=300,
    attacker_steps=256,
    validation_steps=256,
    beside=BESIDE[-1:],
    methods=tuple(
        dataclasses.replace(method, candidates=method.candidates[:1])
        for method in EVERY
        if method.name in ("plain", "aajr")
    ),
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    work = tmp_path_factory.mktemp("work")
    return work, STUDY.run(TINY, work, Workers(1))


@pytest.fixture(scope="module")
def victim(finished):
    store = STUDY.store(TINY, finished[0])
    place = runs.agent_cell(TINY, store, TINY.methods[0], 0.3, 0).directory
    return victim_of(place, TINY, 2, 0)


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
        assert all(any(name.startswith(family) for name in names) for family in SEVEN)
        assert {"sa_rl", "pa_ad", "mad", "mad_vertices", "steer_vertices"} <= names
        assert all(len(values) == TINY.episodes for values in agent["returns"].values())
        for name, radius in agent["largest_perturbation"].items():
            most = 1.001 * TINY.epsilon
            # an attacker that has hardly learned commands little
            least = 0 if name in ("none", "sa_rl") else 0.5 * TINY.epsilon
            assert least <= radius <= (0 if name == "none" else most)
        assert 0 < agent["sensitivity"]["aligned"] <= 1.1 * agent["sensitivity"]["frobenius"]
    assert [record["seed"] for record in results["thorough"]] == [0, 0]
    assert all({"imap", "imap_corner"} <= set(one["returns"]) for one in results["thorough"])


def test_an_agent_with_a_memory_meets_every_attack(finished, tmp_path):
    method = next(method for method in LSTM if method.name == "lstm_atla_aajr")
    store = STUDY.store(TINY, tmp_path)
    found = runs.examine(TINY, store, method, method.candidates[0], 0, "final")
    assert set(found["returns"]) == set(finished[1]["agents"][0]["returns"])
    assert victim_of(next(tmp_path.rglob("agents/*")), TINY, 2, 0).actor.begin(1).shape == (1, 2, 8)


@pytest.mark.parametrize("method", LSTM, ids=lambda method: method.name)
def test_methods_with_a_memory_differ_from_the_others_by_it_alone(method):
    protocol = PROTOCOLS["hopper"]
    base = next(one for one in EVERY if one.name == (method.name[5:] or "plain"))
    mine, other = (one.recipe(protocol, 0.3) for one in (method, base))
    assert mine.config == dataclasses.replace(other.config, hidden=(64,), memory=64)
    assert described((mine.robust, mine.opponent)) == described((other.robust, other.opponent))
    assert (method.knob, method.candidates) == (base.knob, base.candidates)


def test_a_finished_study_is_only_read(finished, monkeypatch):
    work, results = finished
    monkeypatch.setattr(runs, "train", None)  # any training would fail
    monkeypatch.setattr(runs, "train_attacker", None)
    again = STUDY.run(TINY, work, InProcess())
    assert json.dumps(again["agents"]) == json.dumps(results["agents"])


def test_a_killed_study_trains_nothing_twice(tmp_path, monkeypatch):
    protocol = dataclasses.replace(TINY, methods=TINY.methods[:1], final_seeds=(0,))
    with monkeypatch.context() as patch:
        patch.setattr(runs, "played", kill)
        with pytest.raises(KeyboardInterrupt):
            STUDY.run(protocol, tmp_path, InProcess())
    trained = list(tmp_path.rglob("checkpoint.npz"))
    assert len(trained) == 2  # the agent and its attacker
    before = [path.stat().st_mtime_ns for path in trained]
    STUDY.run(protocol, tmp_path, InProcess())
    assert [path.stat().st_mtime_ns for path in trained] == before


def kill(*_):
    raise KeyboardInterrupt


def test_the_report_is_written_and_shows_whose_figures_are_whose(finished, tmp_path):
    _, results = finished
    STUDY.report.write(results, tmp_path)
    table = (tmp_path / "table.md").read_text()
    assert "not ours: SA-DDPG (SGLD)" in table
    assert "median 423" in table
    assert "further attackers" in table
    assert "which none counts in the worst of seven: imap;" in table
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {
        f"{name}.{kind}" for name in ("agents", "attacks", "frontier") for kind in ("png", "svg")
    }
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["command"] == results["command"]
    assert {"mujoco", "jax", "gymnasium"} <= set(written["versions"])
    assert STUDY.report.render(results).renderables


def test_both_searches_are_run_and_the_check_goes_further(victim):
    found = built(TINY, victim)
    usual, vertices = (found[name]() for name in ("mad", "mad_vertices"))
    assert isinstance(usual, ProjectedGradientAscent)
    assert (usual.steps, usual.restarts) == (TINY.attack_steps, TINY.attack_restarts)
    assert isinstance(vertices, VertexSearch)
    alone = built(dataclasses.replace(TINY, solvers=("gradient",)), victim)
    assert not any(name.endswith("vertices") for name in alone)
    thorough = built(TINY, victim, thorough=True)["mad"]()
    assert (thorough.steps, thorough.restarts) == (TINY.thorough_steps, TINY.thorough_restarts)
    x = torch.linspace(-1, 1, 24).reshape(6, 4)
    results = [a(victim.actor, x, torch.Generator().manual_seed(0)) for a in (vertices, usual)]
    assert bool((results[0].losses[-1] >= results[1].losses.amax(0) - 1e-6).all())


def test_the_worst_is_over_the_families_named():
    returns = {
        "none": [0.0], "mad": [5.0, 7.0], "push_up": [2.0], "rs_mad_0.3": [4.0], "pa_ad": [3.0],
    }  # fmt: skip
    assert worst(returns, ("random", "critic", "mad", "rs")) == (4.0, "rs_mad_0.3")
    assert worst(returns, SIX) == (3.0, "pa_ad")
    assert worst(returns, SEVEN) == (2.0, "push_up")


def test_pushing_moves_the_mean_action_one_way(victim):
    x = torch.linspace(-1, 1, 24).reshape(6, 4)
    found = built(TINY, victim)
    clean = victim.actor(x)[:, 0]
    for name, sign in (("push_up", 1), ("push_down", -1)):
        attack = found[name]()
        trajectory = attack(victim.actor, x, torch.Generator().manual_seed(0))
        assert (sign * (victim.actor(trajectory.worst)[:, 0] - clean) > 0).all()
        reference = Reference(x, victim.actor(x))
        torch.testing.assert_close(attack.objective(victim.actor(x), reference), sign * clean)


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
        returns = {name: [natural] for name in ("none", "critic", "push_up", "steer", "pa_ad")}
        returns["mad"] = [attacked]
        cell = runs._examined(protocol, store, method, value, 5, "validation")
        dataclasses.replace(cell, function=dict, arguments=({"returns": returns},)).fill()
    assert runs.choose(protocol, store, method)["value"] == 2.0


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=lambda protocol: protocol.name)
def test_every_method_has_the_same_budget(protocol):
    tuned = [method for method in protocol.methods if method.name != "recipe"]
    assert len({len(method.candidates) for method in tuned}) == 1
    assert not set(protocol.final_seeds) & set(protocol.validation_seeds)
    for method in protocol.methods:
        recipe = method.recipe(protocol, method.candidates[0])
        players = 1 if recipe.opponent is None else 2
        assert players * recipe.config.steps == protocol.config.steps
    assert published(protocol.environment)
    assert len(PROTOCOLS["hopper"].final_seeds) >= 11


def test_methods_differ_only_in_what_their_names_say():
    protocol = PROTOCOLS["hopper"]
    named = {method.name: method.recipe(protocol, 0.5) for method in EVERY}
    assert named["plain"].config.learning_rate == 0.5 * protocol.config.learning_rate
    assert named["plain"].robust is None
    noise, adversarial, aajr = (named[n].robust for n in ("noise", "adversarial", "aajr"))
    assert isinstance(noise.adversary, UniformNoise)
    half = 0.75 * protocol.config.minibatch_updates
    assert noise.epsilon == adversarial.epsilon == Ramp(0.5 * protocol.epsilon, half)
    assert aajr.epsilon == Ramp(protocol.epsilon, half)
    assert (aajr.weight, aajr.placement) == (0.5, "clean")
    mixed = (noise, adversarial, named["aajr_adversarial"].robust)
    assert [robust.placement for robust in mixed] == ["mixed"] * 3
    assert noise.penalty is adversarial.penalty is None
    assert isinstance(aajr.penalty, AAJR)
    along = named["aajr_value"].robust(lambda x: x[:, :1])
    assert isinstance(along, Minimax)
    assert along.adversary.target is not None
    assert named["atla_aajr"].opponent.epsilon == protocol.epsilon
    assert isinstance(named["atla_aajr"].robust.penalty, AAJR)
    assert named["atla_aajr"].robust.epsilon.updates == half / 2
    assert named["atla"].opponent.epsilon == 0.5 * protocol.epsilon
    kinds = {name: named[name].opponent.kind for name in ("atla", "atla_director")}
    assert kinds == {"atla": "sa_rl", "atla_director": "pa_ad"}
    assert named["atla_director"].opponent.epsilon == 0.5 * protocol.epsilon


@pytest.fixture(scope="module")
def plainly_trained(tmp_path_factory):
    return trained("plain", 1.0, tmp_path_factory.mktemp("plain") / "agents" / "one")


def trained(name, value, directory):
    (method,) = (method for method in EVERY if method.name == name)
    runs.train_agent(TINY, method, value, 0, directory)
    return load_player(directory)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("noise", 2.0),
        ("adversarial", 2.0),
        ("sa_bound", 1.0),
        ("aajr_value", 1.0),
        ("aajr_adversarial", 1.0),
    ],
)
def test_a_method_trains_another_agent_than_plain_ppo(name, value, plainly_trained, tmp_path):
    actors = [
        player.params["actor"][0]["weight"]
        for player in (plainly_trained, trained(name, value, tmp_path / "agents" / "one"))
    ]
    assert float(abs(actors[0] - actors[1]).max()) > 1e-5


OWN = """
from aajr.studies.mujoco import Method, Recipe

def mine(protocol, value):
    return Recipe(protocol.config)

MINE = Method("mine", "my method", "weight", (1.0,), mine)
"""


def test_a_method_of_ones_own_joins(tmp_path, monkeypatch):
    (tmp_path / "own_methods.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    protocol = dataclasses.replace(TINY, extra="own_methods:MINE")
    assert [method.name for method in runs.methods_of(protocol)] == ["plain", "aajr", "mine"]
    hopper = dataclasses.replace(PROTOCOLS["hopper"], extra="own_methods:MINE")
    assert STUDY.command(hopper) == (
        "aajr study mujoco --preset hopper --set extra=own_methods:MINE"
    )
    facts = [STUDY.store(one, tmp_path).settings for one in (TINY, protocol)]
    assert [len(one["methods"]) for one in facts] == [2, 3]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("nowhere:MINE", "cannot be loaded: .*nowhere"),
        ("aajr.studies.mujoco:NOTHING", "cannot be loaded: .*NOTHING"),
        ("math:pi", "give a Method"),
        ("aajr.studies.mujoco._protocol:EVERY", "repeats a name"),
    ],
)
def test_an_unfit_extra_is_named(extra, message):
    with pytest.raises(ValueError, match=message):
        runs.methods_of(dataclasses.replace(TINY, extra=extra))


def test_published_results_are_those_of_the_environment():
    assert published("envpool:Hopper-v5") == PUBLISHED["Hopper"] == published("Hopper-v4")
    assert published("Pendulum-v1") == ()


def test_the_unit_is_the_agents_own(victim):
    assert victim.unit == ("L∞, observations normalised by the agent's own running statistics")
    raw = np.random.default_rng(0).normal(size=(5, 4))
    assert victim.actor.sight(raw).shape == (5, 4)
    assert played(victim).record.returns.shape == (2,)
