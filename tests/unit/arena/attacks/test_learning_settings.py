"""A grid of attackers that learn: each its own trial and checkpoint, and the best one counts."""

from __future__ import annotations

import dataclasses
import json

import pytest

from aajr.arena import examine
from aajr.arena.attacks import victim as victims
from aajr.arena.attacks.agent_suites import (
    AGENT_STANDARD,
    AGENT_THOROUGH,
    EXPLORING,
    GRID,
)
from aajr.arena.attacks.suites import STANDARD, Suite
from aajr.arena.reports.report import Report
from aajr.arena.settings import Effort, Learning
from tests.unit.arena.attacks.test_optimum import AGENT, BALL
from tests.unit.arena.attacks.test_optimum import GRID as WALK

EFFORT = Effort(
    steps=1, restarts=1, queries=4, critic_episodes=10, attacker_iterations=3,
    attacker_environments=8,
)  # fmt: skip
LEARNED = {
    spec.name: spec for spec in AGENT_THOROUGH.attacks if spec.learning and "full" in spec.threats
}


def attacked(directory) -> Report:
    noise = AGENT_STANDARD.attacks[0]
    grid = Suite("grid", 1, EFFORT, (noise, *LEARNED.values()))
    return examine(AGENT, WALK, BALL, grid, episodes=20, epsilons=(), directory=directory)


def test_every_setting_is_a_trial_of_its_own_and_the_worst_counts(tmp_path):
    report = attacked(tmp_path)
    assert set(report.attacks) == {"noise", *LEARNED}
    returns = {name: report.estimate(name, BALL.epsilon) for name in report.attacks}
    assert len(set(returns.values())) > 3
    assert report.worst.mean_return.estimate == min(returns.values())
    (place,) = tmp_path.iterdir()
    kept = {path.parent.name for path in place.rglob("attacker.safetensors")}
    assert kept == {spec.learning.named(f"{name[:5]}_0.8") for name, spec in LEARNED.items()}


def test_a_stopped_grid_goes_on(tmp_path, monkeypatch):
    report = attacked(tmp_path)
    (place,) = tmp_path.iterdir()
    for path in [*place.glob("pa_ad_slow*.json"), place / "checks.json"]:
        path.unlink()
    played = []
    real = victims.train_attacker
    monkeypatch.setattr(
        victims, "train_attacker", lambda *args: played.append(args[5].name) or real(*args)
    )
    again = attacked(tmp_path)
    assert played == ["pa_ad_0.8_slow"]
    assert [t.returns for t in again.agents[0].assessment.trials] == [
        t.returns for t in report.agents[0].assessment.trials
    ]


def test_a_setting_reaches_the_training(monkeypatch):
    def train(victim, match, ball, kind, config, place, seed):
        return kind, config.iterations, config.coverage, config.ppo

    monkeypatch.setattr(victims, "train_attacker", train)
    victim = victims.Victim(AGENT, WALK, "full", EFFORT)
    for spec in LEARNED.values():
        kind, iterations, coverage, ppo = spec.build(BALL, victim)
        assert kind == spec.name[:5]
        assert (iterations, ppo.environments, ppo.epochs) == (3, 8, 4)
        wanted = dataclasses.asdict(spec.learning)
        found = dataclasses.asdict(ppo) | {"coverage": coverage, "name": spec.learning.name}
        assert {k: v for k, v in found.items() if k in wanted} == wanted


def test_thorough_has_some_settings_and_the_others_one():
    def settings(suite, attack):
        return [s.learning for s in suite.attacks if s.learning and s.name.startswith(attack)]

    for kind in ("sa_rl", "pa_ad", "liars_pa_ad"):
        further = EXPLORING if kind == "sa_rl" else ()
        assert settings(AGENT_STANDARD, kind) == [Learning()]
        assert settings(AGENT_THOROUGH, kind) == [Learning(), *GRID, *further]
    assert len({dataclasses.replace(one, name="") for one in (Learning(), *GRID)}) == 1 + len(GRID)
    assert not any("learning" in attack for attack in STANDARD.facts()["attacks"])


def test_the_budget_is_reported(tmp_path):
    report = attacked(tmp_path)
    report = Report.read(report.save(tmp_path / "report.json"))
    rows = {row[0]: row[-1] for row in report.table().rows}
    for name in LEARNED:
        assert rows[name].splitlines()[-1] == "24 episodes", name
    assert "episodes" not in rows["noise"]
    assert "episodes of training" in report.table().notes[0]
    page = report.save(tmp_path / "report.html").read_text()
    assert "sa_rl_far" in page
    facts = json.loads((tmp_path / "report.json").read_text())["suite"]["attacks"]
    learning = {a["name"]: a["learning"] for a in facts if "learning" in a}
    assert learning["sa_rl_far"] == dataclasses.asdict(GRID[1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": 0.0}, r"learning_rate=0\.0"),
        ({"discount": 1.5}, r"discount=1\.5"),
        ({"entropy": -1.0}, r"entropy=-1\.0"),
        ({"coverage": 2.0}, r"coverage=2\.0"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Learning(**settings)
