"""Recipes that aajr.jax.ppo carries out, from Python and from the command line."""

from __future__ import annotations

import dataclasses

import pytest

from aajr.arena import Agent
from aajr.cli import main
from aajr.integrations import hosts
from aajr.integrations.jax_training import config_of, robust_of, train_recipe
from aajr.integrations.recipes import WEIGHTS, Recipe
from aajr.jax.ppo import Ramp

SHORT = Recipe("Pendulum-v1", eps=0.1, steps=2 * 2048, segments=2)


@pytest.mark.parametrize("method", ["plain", "adversarial", *WEIGHTS])
def test_every_method_is_what_its_name_says(method):
    robust = robust_of(dataclasses.replace(SHORT, method=method))
    if method == "plain":
        assert robust is None
        return
    names = {
        "aajr": "AAJR",
        "global": "Frobenius",
        "random_direction": "RandomDirection",
        "sa": "StateAdversarial",
    }
    penalty = None if robust.penalty is None else type(robust.penalty).__name__
    assert penalty == names.get(method)
    assert robust.placement == ("adversarial" if method == "adversarial" else "clean")
    assert robust.weight == WEIGHTS.get(method, 0.0)
    assert robust.epsilon == Ramp(0.1, 0.75 * 2 * 320)


def test_the_run_has_the_recipes_steps_and_parts():
    config = config_of(Recipe("x", steps=100_000, segments=20))
    assert (config.rows, config.updates, config.segment) == (2048, 40, 2)
    assert config.environments == 8


def test_the_command_trains_an_agent_that_the_arena_knows(tmp_path, capsys, monkeypatch):
    command = ["aajr", "train", "--output", str(tmp_path / "run"), "--env", "Pendulum-v1"]
    further = ["--trainer", "jax", "--steps", "2048", "--eps", "0.05"]
    monkeypatch.setattr("sys.argv", [*command, *further])
    main()
    assert "aajr attack" in capsys.readouterr().out
    assert Agent.from_ppo(tmp_path / "run").features == 3


def test_a_directory_with_another_run_is_refused(tmp_path):
    one = dataclasses.replace(SHORT, steps=2048)
    train_recipe(one, tmp_path)
    with pytest.raises(ValueError, match="other settings"):
        train_recipe(dataclasses.replace(one, eps=0.2), tmp_path)


def test_a_missing_package_is_named():
    with pytest.raises(ImportError, match=r"needs no-such-thing: pip install 'aajr\[mujoco\]'"):
        hosts.need("no-such-thing", extra="mujoco")
