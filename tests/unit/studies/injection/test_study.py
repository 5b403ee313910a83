"""The injection study on a tiny scale: complete, resumable, its choice against cases."""

import dataclasses
import json

import numpy as np
import pytest
import torch

pytest.importorskip("trl")

from aajr.integrations.trl import Robustness
from aajr.studies import InProcess
from aajr.studies.injection import PROTOCOLS, STUDY
from aajr.studies.injection import _report as report
from aajr.studies.injection import _study as runs
from aajr.studies.injection._protocol import ALIGNED, GROUPS, METHODS, TUNED_ON, Run, suite
from aajr.studies.injection._training import train

pytestmark = pytest.mark.filterwarnings("ignore")
TINY = dataclasses.replace(
    PROTOCOLS["smoke"],
    steps=3,
    methods=tuple(m for m in PROTOCOLS["smoke"].methods if m.name in ("host", "secalign", "aajr")),
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    work = tmp_path_factory.mktemp("work")
    return work, STUDY.run(TINY, work, InProcess())


def test_every_model_meets_every_attack(finished):
    _, results = finished
    assert {(m["method"], m["seed"]) for m in results["models"]} == {
        (name, seed) for name in ("host", "secalign", "aajr") for seed in TINY.final_seeds
    }
    names = {"none", *(entry.name for entry in suite(TINY.effort).entries)}
    for model in results["models"]:
        assert set(model["attacks"]) <= names
        assert {"none", "training_naive", "held_out_important"} <= set(model["attacks"])
        for judged in model["attacks"].values():
            assert len(judged["right"]) == len(judged["harmful"]) == TINY.cases
    assert {r["budget"] for r in results["smaller"]} == {0.5}


def test_a_finished_run_is_only_read(finished, monkeypatch):
    work, results = finished
    monkeypatch.setattr(runs, "train", None)
    assert json.dumps(STUDY.run(TINY, work, InProcess())) == json.dumps(results)


def test_the_report_is_written(finished, tmp_path):
    _, results = finished
    STUDY.report.write(results, tmp_path)
    text = (tmp_path / "table.md").read_text()
    assert "| SecAlign |" in text
    assert "AAJR less" in text
    plots = {path.name for path in (tmp_path / "plots").iterdir()}
    assert plots == {f"{name}.{kind}" for name in ("scores", "compute") for kind in ("png", "svg")}


def test_the_second_half_of_secalign_costs_as_much_as_the_first(finished):
    costs = finished[1]["costs"]
    assert costs["preferences"] > costs["secalign"] == costs["host"]
    assert costs["aajr"] > 1.1 * costs["host"]


def test_training_is_decided_by_its_seed(finished):
    costs = finished[1]["costs"]
    models = [train(Run(TINY, TINY.methods[2], {"weight": 0.1}, s), costs)[0] for s in (3, 3, 4)]
    first, same, other = ([p.detach() for p in m.parameters()] for m in models)
    assert all(torch.equal(a, b) for a, b in zip(first, same, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def record(**right):
    harmful = {name: [not value for value in values] for name, values in right.items()}
    return {"attacks": {n: {"right": right[n], "harmful": harmful[n]} for n in right}}


def test_a_case_counts_only_if_it_stands_all_attacks_of_the_groups():
    one = record(none=[1, 1, 1, 0], words_goal=[1, 0, 1, 1], words_wrong=[1, 1, 0, 1])
    assert runs.right_under(one, ("none",)) == 0.75
    assert runs.right_under(one, ("words",)) == 0.5
    assert runs.right_under(one, ("none", "words")) == 0.25
    assert runs.obeys_under(one, ("words",)) == 0.5


def test_the_choice_weighs_training_forms_and_words_and_asks_for_the_task(tmp_path):
    found = {1.0: (1.0, 0.2, 0.2), 2.0: (0.96, 0.1, 0.6), 3.0: (0.9, 0.9, 0.9)}
    candidates = tuple({"weight": weight} for weight in found)
    method = dataclasses.replace(METHODS[-1], candidates=candidates)
    protocol = dataclasses.replace(PROTOCOLS["standard"], validation_seeds=(100,))
    store = STUDY.store(protocol, tmp_path)
    for candidate, shares in zip(candidates, found.values(), strict=True):
        lists = [list(np.arange(100) < 100 * share) for share in shares]
        made = record(**dict(zip(("none", "training_naive", "words_goal"), lists, strict=True)))
        plain = json.loads(json.dumps(made, default=bool))
        cell = runs._examined(Run(protocol, method, candidate, 100), store, "validation")
        dataclasses.replace(cell, function=dict, arguments=(plain,)).fill()
    choice = runs.choose(protocol, store, method)
    assert choice["candidate"] == {"weight": 2.0}


def test_tuning_never_meets_a_held_out_form():
    names = [entry.name for entry in suite(TINY.effort, TUNED_ON).entries]
    assert names
    assert not any(name.startswith(("held_out", "embeddings")) for name in names)
    assert all(entry.name.startswith(GROUPS) for entry in suite(TINY.effort).entries)


@pytest.mark.parametrize("name", ["standard", "smollm2"])
def test_every_method_has_the_same_budget_and_is_known(name):
    protocol = PROTOCOLS[name]
    assert len({len(method.candidates) for method in protocol.methods}) == 1
    assert not set(protocol.final_seeds) & set(protocol.validation_seeds)
    assert set(ALIGNED) <= {method.name for method in protocol.methods}
    for method in protocol.methods:
        if method.settings is not None:
            for candidate in method.candidates:
                Robustness(**method.settings, **candidate)


def test_the_best_method_with_aajr_is_chosen_on_the_validation_seeds():
    def choice(value):
        return {"candidate": 1, "tried": [{"candidate": 1, "training": value, "words": 0.1}]}

    choices = {name: choice(value) for name, value in zip(ALIGNED, (0.2, 0.9, 0.5), strict=True)}
    assert report.best_aligned({"choices": choices}) == "aajr_augmented"
