"""The commands as a user runs them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from aajr.arena.records.evaluation import read_evaluation
from aajr.studies.comparison.records import read_results

AAJR = Path(sys.executable).with_name("aajr")
TINY = [
    "--config.iterations",
    "2",
    "--config.env.max-steps",
    "6",
    "--config.ppo.environments",
    "6",
    "--config.ppo.minibatches",
    "2",
    "--config.ppo.hidden",
    "8",
]


@pytest.fixture(scope="module")
def league(aajr, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("league")
    teams = ("--config.learners", "hider", "seeker")
    status, _, errors = aajr("train", "--output", str(output), *teams, *TINY, "--logger", "csv")
    assert status == 0, errors
    return output / "checkpoint.safetensors"


def test_hiders_with_a_radio_train_against_chasers_and_are_lied_to(aajr, tmp_path):
    threat = ("--config.adversary.threat", "reports", "--config.adversary.placement", "update")
    radio = ("config.env.radio:radio", "--config.env.radio.sources", "3")
    liars = ("--config.env.radio.liars", "1")
    run = ("--output", str(tmp_path / "run"), "--logger", "none")
    status, _, errors = aajr("train", *run, *TINY, *threat, *radio, *liars)
    assert status == 0, errors
    arguments = ("--threat", "reports", "--suite", "quick", "--eps", "0.5", "--episodes", "4")
    output = ("--output", str(tmp_path))
    status, _, errors = aajr("evaluate", str(tmp_path / "run"), *arguments, *output)
    assert status == 0, errors
    trials = read_evaluation(tmp_path / "evaluation.json").assessments[0].trials
    names = [trial.score.attack for trial in trials]
    assert names == ["none", "liars_noise", "liars_mad", "liars_critic_0", "other_side"]
    checkpoint, gif = str(tmp_path / "run/checkpoint.safetensors"), tmp_path / "lies.gif"
    for attack in ("pgd_mad", "noise"):
        shown = ("--attack", attack, "--threat", "reports", "--gif", str(gif), "--seen-by", "2")
        status, _, errors = aajr("watch", checkpoint, *shown)
        assert status == 0, errors
        assert gif.stat().st_size > 0
        gif.unlink()
    status, _, errors = aajr("train", *run, *TINY, "--radio")
    assert status == 2
    assert "would ignore config.env" in errors


def test_train_logs_and_goes_on(aajr, league, tmp_path):
    assert list(league.parent.glob("csv/**/*.csv"))
    method = (
        "train",
        "--output",
        str(tmp_path),
        "--opponents",
        str(league),
        *TINY,
        "--config.adversary.placement",
        "update",
        "--config.penalty.name",
        "aajr",
        "--config.penalty.weight",
        "0.1",
    )
    status, _, errors = aajr(*method)
    assert status == 0, errors
    assert list(tmp_path.glob("tensorboard/**/events*"))
    written = (tmp_path / "checkpoint.safetensors").read_bytes()
    status, _, errors = aajr(*method)
    assert status == 0, errors
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == written


def test_evaluate_prints_the_worst_and_goes_on(aajr, league, tmp_path):
    command = (
        "evaluate",
        str(league),
        "--opponents",
        str(league.parent),
        "--suite",
        "quick",
        "--eps",
        "0,0.1",
        "0.2",
        "--episodes",
        "12",
        "--output",
        str(tmp_path),
        "--coordination",
    )
    status, output, errors = aajr(*command)
    assert status == 0, errors
    for word in ("worst", "quick version 2", "role_separation"):
        assert word in output
    found = read_evaluation(tmp_path / "evaluation.json")
    (one,) = found.assessments
    assert (found.suite["name"], one.epsilons) == ("quick", (0.1, 0.2))
    assert {t.score.attack for t in one.at(0.2)} == {"noise", "pgd_mad", "critic_0", "square"}
    status, _, errors = aajr(*command)
    assert status == 0, errors
    assert read_evaluation(tmp_path / "evaluation.json") == found


def test_crossplay_plays_the_league(aajr, league, tmp_path):
    command = ("crossplay", str(league), "--episodes", "12", "--output", str(tmp_path))
    status, output, errors = aajr(*command)
    assert status == 0, errors
    assert "Seekers against the league" in output
    facts = json.loads((tmp_path / "crossplay.json").read_text())
    assert len(facts["pairings"]) == 1
    assert (tmp_path / "crossplay.svg").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--eps", "0.1,many"), "eps='0.1,many'"),
        (("--eps", "-0.1"), "epsilon=-0.1"),
        (("--opponents", "nothing.safetensors"), "does not exist"),
    ],
)
def test_evaluate_names_what_is_wrong(aajr, arguments, message, league, tmp_path):
    command = ("evaluate", str(league), "--opponents", str(league), "--output", str(tmp_path))
    status, _, errors = aajr(*command, *arguments)
    assert status == 2
    assert message in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--opponents", "nothing.safetensors"), "does not exist"),
        ((), "opponents=0"),
        (("--config.ppo.learning-rate", "-1"), "learning_rate"),
    ],
)
def test_user_errors_end_without_a_traceback(aajr, arguments, message, tmp_path):
    status, _, errors = aajr("train", "--output", str(tmp_path), *arguments)
    assert status == 2
    assert message in errors
    assert "Traceback" not in errors


def test_smoke_reproduces_everything(tmp_path):
    command = [AAJR, "reproduce", "--preset", "smoke", "--output", "out"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=280)
    assert result.returncode == 0, result.stderr
    for word in ("78†", "quoted", "stable rank", "Smoke test"):
        assert word in result.stdout
    results = read_results(tmp_path / "out" / "results.json")
    assert {run.method for run in results.runs} == {
        "plain",
        "adversarial",
        "global",
        "global_reports",
        "random_direction",
        "aajr",
        "median",
    }
    assert all(run.response for run in results.runs)
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000
    assert list((tmp_path / "out" / "plots").glob("*.svg"))
