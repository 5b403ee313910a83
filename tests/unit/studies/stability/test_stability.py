"""The stability study on a tiny scale, and its figures against hand-made records."""

import dataclasses
import json
import math
import shutil

import pytest

from aajr.arena.settings import Effort
from aajr.arena.training.ppo import PPOConfig
from aajr.hide_and_seek.game import HideAndSeekConfig
from aajr.studies import InProcess, Workers
from aajr.studies.comparison.presets import PRESETS
from aajr.studies.stability import PROTOCOLS, STUDY, Protocol
from aajr.studies.stability._report import tables
from aajr.studies.stability._study import settled

BASE = dataclasses.replace(
    PRESETS["others-smoke"],
    league_iterations=1,
    pretrain_iterations=1,
    episodes=10,
    env=HideAndSeekConfig(max_steps=6),
    ppo=PPOConfig(environments=10, hidden=(8,), minibatches=2),
    effort=Effort(steps=1, restarts=1, critic_episodes=10),
    critics=1,
)
TINY = Protocol(BASE, shares=(0.5,), iterations=3, harsh_iterations=1)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    work = tmp_path_factory.mktemp("work")
    return work, STUDY.run(TINY, work, Workers(1))


def test_every_cell_is_there_and_gamma_comes_from_the_validation_seed(finished):
    _, results = finished
    (gamma,), (weight,) = results["gammas"], results["weights"]
    assert gamma == float(f"{0.5 * results['validation_quantile']:.2g}")
    names = {run["cell"] for run in results["runs"]}
    assert {f"constraint_{gamma:g}", f"fixed_{gamma:g}", "unconstrained"} < names
    assert len(names) == 3 + 6
    assert {run["seed"] for run in results["runs"]} == {0}
    fixed = next(run for run in results["runs"] if run["cell"].startswith("fixed"))
    assert all(math.isclose(m["hider/weight"], weight) for m in fixed["history"])


def test_the_safe_rules_never_lower_the_objective(finished):
    _, results = finished
    for run in results["runs"]:
        if run["cell"].startswith(("harsh_stable", "harsh_backtracking")):
            assert all(metrics["hider/nonmonotone_share"] == 0 for metrics in run["history"])


def test_a_killed_study_goes_on_to_the_same_numbers(finished, tmp_path):
    work, results = finished
    copy = tmp_path / "work"
    shutil.copytree(work, copy)
    removed = next(copy.glob("stability-*/fixed_*/cell.json"))
    removed.unlink()
    again = STUDY.run(TINY, copy, InProcess())
    assert again["runs"] == results["runs"]


def test_the_report_is_written(finished, tmp_path):
    _, results = finished
    STUDY.report.write(results, tmp_path)
    assert json.loads((tmp_path / "results.json").read_text())["gammas"] == results["gammas"]
    assert "## A constraint instead of a weight" in (tmp_path / "table.md").read_text()
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert names == {f"{n}.{k}" for n in ("constraint", "step_rules") for k in ("png", "svg")}


def record(cell, quantiles, weight=0.1, fresh=2.0):
    history = [{"hider/sensitivity_quantile": q, "hider/weight": weight} for q in quantiles]
    scores = [{"attack": "none", "success": 0.8}, {"attack": "mad", "success": 0.6}]
    return {"cell": cell, "seed": 0, "history": history, "fresh_quantile": fresh, "scores": scores}


def test_figures_of_the_constraint_table():
    harsh = {
        "nonmonotone_share": 0.25,
        "step_to_limit": 1.5,
        "effective_smoothness": 3.0,
        "inner_gradient_norm_largest_over_median": 7.0,
        "outer_gradient_norm_largest_over_median": 2.0,
    }
    runs = [
        record("unconstrained", [9.0, 4.0, 4.0, 4.0]),
        record("constraint_2", [9.0, 2.0, 2.2, 1.8]),
        record("fixed_2", [9.0, 3.0, 3.0, 3.0]),
    ]
    for cell in TINY.harsh():
        run = record(cell.name, [1.0])
        run["history"] = [{f"hider/{name}": value for name, value in harsh.items()}]
        runs.append(run)
    results = {
        "gammas": [2.0],
        "weights": [0.3],
        "runs": runs,
        "protocol": {**dataclasses.asdict(TINY), "warmup": 0.25},
    }
    constraint, rules = tables(results)
    assert constraint.rows[1] == ("γ = 2", "0.1", "2.000", "1.000", "33%", "1.00", "80", "60")
    assert constraint.rows[2][3] == "1.500"
    assert rules.rows[0] == ("fixed, no penalty", "25.00", "1.50", "3", "7.0", "2.0", "80", "60")


def test_the_warm_up_is_left_out():
    run = record("x", [1.0, 2.0, 3.0, 4.0])
    assert settled(run, 0.4, "sensitivity_quantile") == [3.0, 4.0]


def test_protocols_are_fair():
    for protocol in PROTOCOLS.values():
        assert protocol.validation_seed not in protocol.seeds
        assert 0 < protocol.warmup < 0.5
    assert len(PROTOCOLS["quick"].shares) >= 3
    free = PROTOCOLS["quick"].unconstrained().penalty
    assert free.dual_rate == free.dual_damping == 0
    assert math.isclose(free.weight, 0, abs_tol=1e-6)
