"""The theory's study: exact oracles, a checker that can fail, the same bytes for the same seed."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from scipy.optimize import lsq_linear

from aajr.adversaries import rows_at_once
from aajr.studies import InProcess, Workers
from aajr.studies.theory import PRESETS, STUDY, TheoryConfig, violations
from aajr.studies.theory import _price as price
from aajr.studies.theory._clipping import clipped_example, clipped_steps
from aajr.studies.theory._problems import KINDS, Draw, Loss, random_problem
from aajr.studies.theory._report import tables
from aajr.studies.theory._segments import measure
from aajr.studies.theory._step_sizes import EDGES, step_sizes
from aajr.studies.theory._tasks import INPUTS, SHARPNESS, global_optimum, targets
from aajr.studies.theory._verdicts import Verdict, check, climb, starts
from aajr.theory import Constants, membership

TINY = TheoryConfig(
    problems=10,
    stepped=2,
    chunk=5,
    price=price.PriceConfig(gammas=(1.0,), seeds=(0, 1), updates=5, judged=16, hidden=4),
)


@pytest.mark.parametrize("index", range(2 * len(KINDS)))
def test_no_statement_is_broken(index):
    for verdict in check(random_problem(1, index)):
        assert not verdict.broken.any(), verdict.statement
        assert bool((verdict.tightness >= 1 - 1e-6).all()), verdict.statement


@pytest.mark.parametrize(("index", "share"), [(0, 0.3), (5, 0.3), (3, 0.0), (5, 0.0), (8, 0.0)])
def test_too_small_constants_are_found_out(index, share):
    problem = random_problem(1, index)

    def small(reference, radius):
        found = problem.loss.constants(reference, radius)
        return Constants(share * found.smoothness, share**2 * found.lipschitz)

    wrong = dataclasses.replace(problem, loss=dataclasses.replace(problem.loss, constants=small))
    broken = {v.statement for v in check(wrong) if v.broken.any()}
    if share == 0.0:
        assert {"inner gradient", "damage on the path"} <= broken
    assert broken, "thirty per cent of the constants must not pass for all of them"


def test_segments_against_dense_derivatives():
    problem = random_problem(2, 4)
    trajectory, _ = climb(problem, Draw(problem.generator))
    x, _, reference = starts(problem, trajectory)
    end = trajectory.points[1:].flatten(0, 1)
    segments = measure(problem, reference, x, end)
    row = int(segments.length.argmax())
    d = (end - x)[row] / (end - x)[row].norm()
    part = reference.rows(torch.tensor([row]))

    def loss(point):
        return problem.loss.objective(problem.policy(point.unsqueeze(0)), part).sum()

    hessian = torch.func.hessian(loss)(x[row]).detach()
    dense = torch.func.jacrev(lambda p: problem.policy(p.unsqueeze(0))[0])(x[row]).detach()
    assert float(segments.second[row, 0]) == pytest.approx(abs(float(d @ hessian @ d)), rel=1e-8)
    assert float(segments.bounds["measured"].sensitivity[row]) >= float((dense @ d).norm()) * (
        1 - 1e-9
    )
    assert float(segments.gain[row]) == pytest.approx(
        float((loss(end[row]) - loss(x[row])).detach())
    )


def test_a_problem_depends_on_seed_and_index_alone():
    first = random_problem(3, 7)
    torch.manual_seed(99)
    second = random_problem(3, 7)
    assert torch.equal(first.x, second.x)
    assert torch.equal(first.policy[0].weight, second.policy[0].weight)
    assert not torch.equal(first.x, random_problem(4, 7).x[: len(first.x), : first.x.shape[1]])


def test_tightness_leaves_out_what_cannot_be_divided():
    verdict = Verdict("x", "none", torch.tensor([1.0, 0.0]), torch.tensor([2.0, 2.0]))
    assert verdict.tightness.tolist() == [2.0]
    lower = Verdict("x", "none", torch.tensor([3.0, 3.0]), torch.tensor([1.5, -1.0]), "lower")
    assert lower.tightness.tolist() == [2.0]
    assert not lower.broken.any()
    assert Verdict("x", "none", torch.tensor([2.1]), torch.tensor([2.0])).broken.all()
    assert Verdict("x", "none", torch.tensor([math.nan]), torch.tensor([2.0])).broken.all()


def test_steps_within_the_limit_never_fall_and_safe_rules_never_do():
    for index in range(6):
        for steps in step_sizes(random_problem(5, index)):
            assert not (steps.falls["fixed"] & (steps.to_bound < 1)).any()
            assert not (steps.falls["fixed"] & (steps.to_curvature < 1)).any()
            assert bool((steps.to_curvature <= steps.to_bound * (1 + 1e-6)).all())
            assert not steps.falls["stable"].any()
            assert not steps.falls["backtracking"].any()
    assert EDGES[0] == pytest.approx(0.1)
    assert EDGES[-1] == pytest.approx(10)


@pytest.mark.parametrize("constraint", ["aligned", "global"])
def test_the_price_experiment_measures_what_membership_measures(constraint):
    config = price.PriceConfig(hidden=8, judged=32)
    ensemble = price.Ensemble((0, 1), config.hidden)
    x = torch.rand(2 * 32, INPUTS, dtype=torch.float64) - 0.5
    values = price._sensitivities(config, ensemble, x, constraint)
    for index in (0, 1):
        policy = ensemble.member(index)
        own = x.reshape(2, 32, -1)[index]
        torch.testing.assert_close(policy(own), ensemble(x).detach().reshape(2, 32, 2)[index])
        found = membership(policy, price.attack(config, policy, own), 1.0)
        witness = found.aligned if constraint == "aligned" else found.spectral
        assert float(values[index].detach().max()) == pytest.approx(witness.sensitivity, rel=1e-9)


def test_rescaling_brings_a_policy_into_its_class():
    config = price.PriceConfig(gammas=(0.2,), seeds=(0, 1), updates=1, judged=32, hidden=8)
    for constraint, which in (("aligned", 0), ("global", 1)):
        for fitted in price.fit(config, "separate", constraint):
            assert fitted.train[which] == pytest.approx(0.2, rel=1e-6)
            assert fitted.train[which] <= 0.2
            assert fitted.rescaled < 1


def test_an_ensemble_larger_than_the_bound_of_rows_is_never_split():
    config = price.PriceConfig(gammas=(0.2,), seeds=(0, 1), updates=1, judged=32, hidden=8)
    whole = price.fit(config, "separate", "aligned")
    with rows_at_once(24):
        parts = price.fit(config, "separate", "aligned")
    assert [item.rescaled for item in parts] == [item.rescaled for item in whole]


@pytest.mark.parametrize("gamma", [0.5, 1.0, 3.0, 8.0])
def test_the_least_error_in_the_global_class_against_a_convex_programme(gamma):
    """Slopes within γ, neither odd nor monotone by assumption, on a grid."""
    t = np.linspace(-1, 1, 161)
    step = t[1] - t[0]
    values = np.concatenate([np.ones((161, 1)), step * np.tri(161, 160, -1)], axis=1)
    weights = np.sqrt(np.where((t == -1) | (t == 1), 0.5, 1.0) * step / 2)[:, None]
    low = np.full(161, -gamma)
    low[0] = -2.0
    wanted = weights[:, 0] * np.tanh(SHARPNESS * t)
    found = lsq_linear(weights * values, wanted, (low, -low), tol=1e-12)
    assert 2 * found.cost == pytest.approx(global_optimum(gamma), rel=0.02, abs=2e-6)


def test_the_wanted_map_lies_in_the_aligned_class_alone():
    x = 2 * torch.rand(500, INPUTS, dtype=torch.float64, generator=torch.Generator()) - 1
    x[:20, 2] = 0.0
    found = membership(
        lambda x: targets(x, "separate"),
        price.attack(price.PriceConfig(), lambda x: targets(x, "separate"), x),
        0.37,
    )
    assert found.in_aligned
    assert found.spectral.sensitivity == pytest.approx(SHARPNESS)


def test_an_attack_on_all_errors_costs_more_than_none():
    config = price.PriceConfig(gammas=(1.0,), seeds=(0,), updates=20, judged=64, hidden=8)
    (fitted,) = price.fit(config, "separate", "none")
    assert fitted.other > max(fitted.nominal, fitted.robust)


def test_a_clipped_sign_step_within_the_limit_may_lower_the_objective():
    found = clipped_example()
    assert found["limit"] == pytest.approx(1.01)
    assert found["step_size"] < found["limit"]
    assert found["promised"] > 0 > found["gain"]
    d = 0.99 * 1.01
    assert found["gain"] == pytest.approx(0.01 * d - d**2 / 2)
    assert found["guaranteed"] == pytest.approx(found["gain"])
    counts = [clipped_steps(random_problem(1, index)) for index in range(20)]
    assert 0 < sum(falls for _, falls in counts) < sum(steps for steps, _ in counts)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return STUDY.run(TINY, tmp_path_factory.mktemp("theory"), InProcess())


def test_the_study_is_whole_and_repeats(results, tmp_path):
    assert violations(results) == 0
    assert [p["index"] for p in results["problems"]] == list(range(10))
    for item in results["statements"]:
        column = results["raw"][f"{item['statement']}|{item['constants']}"]
        assert sum(n or 0 for n in column["checked"]) == item["checked"]
    again = STUDY.run(TINY, tmp_path, Workers(1))
    assert json.dumps(again) == json.dumps(results)


def test_the_report_counts_a_violation(results, tmp_path):
    STUDY.report.write(results, tmp_path)
    assert "0 violations" in (tmp_path / "table.md").read_text()
    assert len(list((tmp_path / "plots").iterdir())) == 6
    broken = json.loads(json.dumps(results))
    broken["statements"][0]["violations"] = 2
    assert violations(broken) == 2
    statement, *_ = tables(broken)
    assert statement.rows[0][3] == "2"


def test_presets_and_bad_input():
    full = PRESETS["full"]
    assert full.problems >= 1000
    assert len(full.price.seeds) >= 10
    assert 6 <= len(full.price.gammas) <= 8
    with pytest.raises(ValueError, match="problems=0 is not allowed"):
        TheoryConfig(problems=0)


def test_a_loss_names_its_centre():
    loss = Loss(lambda output, reference: output.sum(1), lambda reference, radius: Constants(0, 1))
    problem = random_problem(0, 0)
    trajectory, _ = climb(problem, Draw(problem.generator))
    assert torch.equal(loss.centre(trajectory.reference), trajectory.reference.outputs)
