"""The commands as a user runs them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from aajr.evaluation.records import read_results
from aajr.evaluation.trials import read_evaluation

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


def aajr(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(AAJR), *arguments], capture_output=True, text=True, cwd=cwd, check=False, timeout=280
    )


@pytest.fixture(scope="module")
def league(tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("league")
    result = aajr(
        "train",
        "--output",
        str(output),
        "--config.learners",
        "hider",
        "seeker",
        *TINY,
        "--logger",
        "csv",
    )
    assert result.returncode == 0, result.stderr
    return output / "checkpoint.safetensors"


def test_train_logs_and_goes_on(league, tmp_path):
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
    first = aajr(*method)
    assert first.returncode == 0, first.stderr
    assert list(tmp_path.glob("tensorboard/**/events*"))
    written = (tmp_path / "checkpoint.safetensors").read_bytes()
    again = aajr(*method)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == written


def test_evaluate_prints_the_worst_and_goes_on(league, tmp_path):
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
    result = aajr(*command)
    assert result.returncode == 0, result.stderr
    for word in ("worst", "quick version 1", "role_separation"):
        assert word in result.stdout
    found = read_evaluation(tmp_path / "evaluation.json")
    (one,) = found.assessments
    assert (found.suite["name"], one.epsilons) == ("quick", (0.1, 0.2))
    assert {t.score.attack for t in one.at(0.2)} == {"noise", "pgd_mad", "critic_0", "square"}
    again = aajr(*command)
    assert again.returncode == 0, again.stderr
    assert read_evaluation(tmp_path / "evaluation.json") == found


def test_crossplay_plays_the_league(league, tmp_path):
    result = aajr("crossplay", str(league), "--episodes", "12", "--output", str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert "Seekers against the league" in result.stdout
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
def test_evaluate_names_what_is_wrong(arguments, message, league, tmp_path):
    command = ("evaluate", str(league), "--opponents", str(league), "--output", str(tmp_path))
    result = aajr(*command, *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--opponents", "nothing.safetensors"), "does not exist"),
        ((), "opponents=0"),
        (("--config.ppo.learning-rate", "-1"), "learning_rate"),
    ],
)
def test_user_errors_are_one_line(arguments, message, tmp_path):
    result = aajr("train", "--output", str(tmp_path), *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_smoke_reproduces_everything(tmp_path):
    result = aajr("reproduce", "--preset", "smoke", "--output", "out", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for word in ("78†", "theirs", "stable rank", "Smoke test"):
        assert word in result.stdout
    results = read_results(tmp_path / "out" / "results.json")
    assert {run.method for run in results.runs} == {"plain", "adversarial", "global", "aajr"}
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000
    assert list((tmp_path / "out" / "plots").glob("*.svg"))
