"""``aajr audit`` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from aajr.arena.training.ppo import PPOConfig
from aajr.cli._playing import played_states
from aajr.hide_and_seek.game import HideAndSeekConfig
from aajr.hide_and_seek.game.actors import team_actor
from aajr.hide_and_seek.training import Trainer
from aajr.hide_and_seek.training.config import TrainConfig
from aajr.hide_and_seek.training.trainer import load_actor

GAME = HideAndSeekConfig(n_hiders=2, n_seekers=2, n_boxes=1, max_steps=6)
FAST = ["--budget.steps", "4", "--budget.restarts", "10", "--budget.queries", "30"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("league")
    config = TrainConfig(
        iterations=1,
        learners=("hider", "seeker"),
        env=GAME,
        ppo=PPOConfig(environments=4, minibatches=2, hidden=(8,)),
    )
    for _ in Trainer(config, directory=path).run():
        pass
    return path / "checkpoint.safetensors"


def test_it_writes_json_and_page(aajr, checkpoint, tmp_path, monkeypatch):
    arguments = ["audit", str(checkpoint), "--opponents", str(checkpoint), "--states", "40", *FAST]
    files = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        status, output, errors = aajr(*arguments, "--gamma", "3", "--output", "found")
        assert status == 0, errors
        assert "measured" in output
        assert "certified" in output
        files.append([Path("found", file).read_bytes() for file in ("audit.json", "audit.html")])
    first, second = files
    assert first == second
    plain = json.loads(first[0])
    assert plain["states"] == 40
    assert plain["certified"]
    assert all(plain["checks"].values())
    assert plain["checks"].keys() >= {"found_below_certified", "certified_radius_below_found"}
    assert plain["threat"]["attackable_features"] == 2 + 2 * 3
    assert plain["subject"]["command"].startswith("aajr audit")
    assert plain["membership"]["gamma"] == 3


def test_seekers_against_random_hiders(aajr, checkpoint, tmp_path):
    status, _, errors = aajr(
        *["audit", str(checkpoint), "--team", "seeker", "--threat", "full", "--states", "10"],
        *["--norm", "l2", "--epsilon", "0.1", "--output", str(tmp_path), *FAST],
    )
    assert status == 0, errors
    plain = json.loads((tmp_path / "audit.json").read_text())
    assert plain["threat"]["attackable_features"] == plain["threat"]["features"]
    assert "random actions" in plain["subject"]["states_from"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.safetensors"], "checkpoint missing.safetensors does not exist"),
        (["CHECKPOINT", "--epsilon", "0"], "epsilon=0.0 is not allowed"),
        (["CHECKPOINT", "--states", "0"], "states=0 is not allowed"),
        (["CHECKPOINT", "--gamma", "-1"], "gamma=-1.0 is not allowed"),
    ],
)
def test_user_errors_end_with_one_line(aajr, checkpoint, arguments, message):
    given = [str(checkpoint) if word == "CHECKPOINT" else word for word in arguments]
    status, _, errors = aajr("audit", *given)
    assert status == 2
    assert message in errors
    assert "Traceback" not in errors


def test_warnings_are_printed_once(aajr, checkpoint, tmp_path):
    arguments = ["--epsilon", "50", "--states", "20", "--output", str(tmp_path), *FAST]
    status, output, errors = aajr("audit", str(checkpoint), *arguments)
    assert status == 0, errors
    assert " ".join(output.split()).count("another unit than the data") == 1
    assert "Warning" not in errors


def test_states_depend_on_the_seed_alone(checkpoint):
    actor = load_actor(checkpoint, "hider")
    states = []
    for seed, torch_seed in ((0, 1), (0, 2), (1, 1)):
        torch.manual_seed(torch_seed)
        before = torch.get_rng_state()
        states.append(played_states(GAME, actor, "hider", [], 30, seed))
        assert torch.equal(torch.get_rng_state(), before)
    assert states[0].shape == (30, actor.features)
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_many_states_play_more_episodes():
    actor = team_actor(7 + 5 + 2 + 6, (4,))
    assert len(played_states(GAME, actor, "hider", [], 400, 0)) == 400
