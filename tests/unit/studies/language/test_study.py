"""The language study on a tiny scale: complete, resumable, its choice against cases."""

import dataclasses
import json

import pytest
import torch

pytest.importorskip("trl")

from aajr.integrations.trl import Robustness
from aajr.studies import InProcess
from aajr.studies.language import PROTOCOLS, STUDY
from aajr.studies.language import _study as runs
from aajr.studies.language._protocol import ATTACKS, METHODS, Run
from aajr.studies.language._training import cost, train

pytestmark = pytest.mark.filterwarnings("ignore")
TINY = dataclasses.replace(
    PROTOCOLS["smoke"],
    tasks=("negotiation",),
    steps=3,
    group_steps=1,
    methods=tuple(
        method for method in PROTOCOLS["smoke"].methods if method.name in ("host", "aajr")
    ),
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    work = tmp_path_factory.mktemp("work")
    return work, STUDY.run(TINY, work, InProcess())


def test_every_model_meets_every_attack_within_its_budget(finished):
    _, results = finished
    assert {(m["method"], m["seed"]) for m in results["models"]} == {
        (name, seed) for name in ("host", "aajr") for seed in TINY.final_seeds
    }
    for model in results["models"]:
        assert set(model["played"]) == {"clean", *ATTACKS}
        for name, played in model["played"].items():
            assert played["changed"] <= (2 if "words" in name else 0)
            if name.startswith("embeddings"):
                radius = ATTACKS[name].radius
                assert 0.5 * radius < played["relative"] <= radius * (1 + 1e-4)


def test_a_finished_run_is_only_read(finished, monkeypatch):
    work, results = finished
    monkeypatch.setattr(runs, "train", None)
    assert json.dumps(STUDY.run(TINY, work, InProcess())) == json.dumps(results)


def test_the_report_is_written(finished, tmp_path):
    _, results = finished
    STUDY.report.write(results, tmp_path)
    assert "| AAJR |" in (tmp_path / "table.md").read_text()
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"scores.png", "scores.svg"}
    assert STUDY.report.render(results).renderables


def test_a_dearer_method_trains_fewer_steps(finished):
    costs = finished[1]["costs"]
    host, aajr = TINY.methods
    assert costs["aajr"] > 1.1 * costs["host"]
    assert costs["host"] == cost(TINY, host)
    steps = []
    for method in (host, aajr):
        protocol = dataclasses.replace(TINY, steps=6)
        steps.append(round(protocol.steps * costs["host"] / costs[method.name]))
    assert steps[1] < steps[0] == 6


def test_training_is_decided_by_its_seed(finished):
    costs = finished[1]["costs"]
    aajr = TINY.methods[1]
    models = [
        train(Run(TINY, "negotiation", aajr, {"weight": 0.1}, seed), costs) for seed in (3, 3, 4)
    ]
    first, same, other = ([p.detach() for p in m.parameters()] for m in models)
    assert all(torch.equal(a, b) for a, b in zip(first, same, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_the_choice_weighs_both_kinds_of_attack_and_asks_for_the_task(tmp_path):
    cases = {1.0: (1.0, 0.2, 0.2), 2.0: (0.97, 0.1, 0.6), 3.0: (0.9, 0.9, 0.9)}
    candidates = tuple({"weight": weight} for weight in cases)
    method = dataclasses.replace(METHODS[-1], candidates=candidates)
    protocol = PROTOCOLS["standard"]
    store = STUDY.store(protocol, tmp_path)
    for candidate, (clean, words, embeddings) in zip(candidates, cases.values(), strict=True):
        played = {"clean": clean, "words": words, "embeddings 0.3": embeddings}
        record = {
            "task": "tools",
            "played": {name: {"scores": {"success": s}} for name, s in played.items()},
        }
        cell = runs._examined(Run(protocol, "tools", method, candidate, 100), store, "validation")
        dataclasses.replace(cell, function=dict, arguments=(record,)).fill()
    choice = runs.choose(protocol, store, "tools", method)
    assert choice["candidate"] == {"weight": 2.0}


def test_every_method_has_the_same_budget_and_is_known():
    protocol = PROTOCOLS["standard"]
    assert {len(method.candidates) for method in protocol.methods} == {5}
    assert len(protocol.final_seeds) >= 5
    assert not set(protocol.final_seeds) & set(protocol.validation_seeds)
    for method in METHODS:
        if method.settings is not None:
            for candidate in method.candidates:
                Robustness(**method.settings, **candidate)
