"""The consensus study: its task, its policies side by side, its attacks and its rule."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
import torch

from aajr.penalties import Frobenius
from aajr.studies import InProcess
from aajr.studies.consensus import PRESETS, STUDY, Settings
from aajr.studies.consensus import _evaluation as evaluation
from aajr.studies.consensus._case import (
    LEAST_DIFFERENCE,
    TRUSTED,
    Case,
    draw,
    head_starts,
    reports_of,
    with_reports,
)
from aajr.studies.consensus._evaluation import Examination
from aajr.studies.consensus._methods import FISHER, METHODS, SideBySide
from aajr.studies.consensus._policies import Members
from aajr.studies.consensus._report import tables
from aajr.studies.consensus._study import choose
from aajr.studies.consensus._training import Budget, Group, train
from aajr.trajectory import Reference, Trajectory

CASE = Case(5, 2)
TINY = Budget(updates=6, batch=8, hidden=8)
LOOK = Examination(samples=12, epsilons=(1.0,), steps=2, checked=4, lies=(0.0, 1.0), responses=6)


def geometry(x):
    """The rule itself, on the mean of the reports: logits are ten times the head starts."""
    return 10 * head_starts(reports_of(x).mean(-2), x[:, :TRUSTED].reshape(-1, 4, 2))


class Rule(torch.nn.Module):
    """A policy of one member that needs no training."""

    count = 1

    def __init__(self, estimate):
        super().__init__()
        self.estimate = estimate

    def forward(self, x):
        trusted = x[:, :TRUSTED].reshape(-1, 4, 2)
        return 10 * head_starts(self.estimate(reports_of(x)), trusted)


def mean(reports):
    return reports.mean(-2)


def median(reports):
    return reports.median(-2).values


def test_the_right_action_is_that_of_the_true_position(generator):
    quiet = draw(Case(400, 1), 200, 2, generator)  # so many reports give the position away
    x, label = quiet.x.flatten(0, 1), quiet.label.flatten()
    assert torch.equal(geometry(x).argmax(-1), label)
    best = geometry(x).topk(2).values / 10
    assert float((best[:, 0] - best[:, 1]).min()) > LEAST_DIFFERENCE - 0.1
    assert torch.equal(with_reports(x, reports_of(x)), x)


def test_members_side_by_side_are_the_members_alone(generator):
    group = Members(CASE, (3, 4, 5), 8, "none")
    x = torch.randn(4 * 3, CASE.inputs, generator=generator)
    together = group(x).reshape(4, 3, -1)
    for index, seed in enumerate((3, 4, 5)):
        alone = Members(CASE, (seed,), 8, "none")
        torch.testing.assert_close(alone(x[index::3]), together[:, index])


def test_every_weight_acts_on_its_own_members_only():
    """A group of two weights trains as each weight trains alone on the same draws."""
    method = METHODS["adversarial"]
    method = dataclasses.replace(method, penalty=lambda case: Frobenius(metric=FISHER))
    both = train(method, CASE, TINY, Group((0.0, 5.0), (7,)))
    none = train(method, CASE, TINY, Group((0.0, 0.0), (7,)))
    first, second = (torch.stack([p[i].flatten() for p in [both.weights[1]]]) for i in (0, 1))
    torch.testing.assert_close(first, none.weights[1][0].reshape(1, -1), rtol=1e-4, atol=1e-6)
    assert float((second - none.weights[1][1].reshape(1, -1)).abs().max()) > 1e-4


def test_the_penalty_of_a_row_has_the_weight_of_its_member(generator):
    x = torch.randn(6, 3, generator=generator)
    trajectory = Trajectory(
        Reference(x, x), torch.stack([x, x]), torch.zeros(1, 6, 3), torch.zeros(1, 6), x
    )
    frobenius = Frobenius(projections=2000)
    both = SideBySide(penalty=frobenius, weights=torch.tensor([1.0, 10.0]))
    found = both.per_sample(torch.clone, trajectory, generator)
    expected = torch.tensor([3.0, 30.0]).repeat(3)
    torch.testing.assert_close(found, expected, rtol=0.1, atol=0)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains(name):
    method = METHODS[name]
    weights = method.weights[-1:] or (0.0,)
    trained = train(method, CASE, TINY, Group(weights, (0, 1)))
    fresh = Members(CASE, (0, 1), 8, method.front)
    assert all(bool(p.isfinite().all()) for p in trained.parameters())
    assert not torch.equal(trained.weights[0], fresh.weights[0])


def test_the_worst_of_all_coalitions_is_that_of_a_grid():
    """The mean is moved by any corner; no grid of lies finds a sample that the attacks missed."""
    rule, tests = Rule(mean), evaluation.shown(CASE, 60, 1)
    (found,) = evaluation.worst_accuracies(rule, CASE, LOOK, tests, [1.0])
    stands = rule(tests.x).argmax(-1) == tests.label
    for shift in itertools.product(torch.linspace(-0.4, 0.4, 9), repeat=2):
        moved = with_reports(tests.x, reports_of(tests.x) + torch.stack(shift))
        stands &= rule(moved).argmax(-1) == tests.label
    assert found == [pytest.approx(100 * float(stands.double().mean()), abs=0.01)]


def test_any_lie_breaks_the_mean_and_not_the_median():
    tests = evaluation.shown(CASE, 60, 1)
    sizes = [1.0, math.inf]
    broken, kept = (
        [found[0] for found in evaluation.worst_accuracies(Rule(r), CASE, LOOK, tests, sizes)]
        for r in (mean, median)
    )
    assert broken[1] < 10 < broken[0]
    assert 85 < kept[1] <= kept[0] <= evaluation.clean_accuracy(Rule(median), tests)[0]


def test_the_believed_shift_of_the_mean_is_linear_and_that_of_the_median_bounded():
    look = Examination(lies=(0.0, 1.0, 5.0), responses=40)
    found = evaluation.responses(Rule(mean), CASE, look)
    shifts = [float(value) for value in found["belief"]]
    assert shifts == pytest.approx([0.0, 0.4, 2.0], abs=0.03)
    estimates = evaluation.estimate_responses(CASE, look)
    assert estimates["mean"] == pytest.approx([0.0, 0.4, 2.0], abs=1e-4)
    assert estimates["median"][1] == pytest.approx(estimates["median"][2], abs=0.02)
    assert 0 < estimates["median"][2] < 0.4
    assert float(found["fisher"][0]) == pytest.approx(0, abs=1e-3)
    assert float(found["fisher"][2]) <= math.pi


def test_the_rule_of_choice():
    def record(weight, clean, worst, seed=0):
        return {"weight": weight, "seed": seed, "clean": clean, "worst": worst}

    tried = [record(1.0, 99.0, 70.0), record(2.0, 98.0, 75.0), record(3.0, 97.9, 90.0)]
    assert choose(tried, 99.0) == 2.0
    assert choose(tried, 98.9) == 3.0
    assert choose(tried, 101.0) == 1.0
    assert choose([*tried, record(2.0, 90.0, 99.0, seed=1)], 99.0) == 1.0


def test_the_study_from_end_to_end(tmp_path):
    settings = Settings(
        methods=("plain", "adversarial", "median", "aajr"),
        seeds=(0, 1, 2),
        validation=(100,),
        budget=TINY,
        examination=LOOK,
    )
    results = STUDY.run(settings, tmp_path / "work", InProcess())
    again = STUDY.run(settings, tmp_path / "work", InProcess())
    assert results == again
    (case,) = results["cases"]
    assert [m["method"] for m in case["methods"]] == list(settings.methods)
    assert all(len(m["clean"]) == 3 and len(m["worst"]) == 2 for m in case["methods"])
    for m in case["methods"]:
        for by_size in m["worst"]:
            assert all(w <= c for w, c in zip(by_size, m["clean"], strict=True))
    assert case["methods"][-1]["weight"] in METHODS["aajr"].weights
    STUDY.report.write(results, tmp_path / "out")
    text = (tmp_path / "out" / "table.md").read_text()
    assert all(table.title in text for table in tables(results))
    assert len(list((tmp_path / "out" / "plots").iterdir())) == 6


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Case(2, 3), "liars=3 exceeds reports=2"),
        (lambda: Settings(methods=("plain",)), "methods lacks 'adversarial'"),
        (lambda: Settings(methods=("adversarial", "best")), "methods='best' is unknown"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_presets_differ_in_size_only():
    assert set(PRESETS) == {"smoke", "quick", "standard", "sources"}
    assert PRESETS["standard"].methods == tuple(METHODS)
