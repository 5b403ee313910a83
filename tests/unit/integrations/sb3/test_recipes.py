"""Recipes of robust training: what they build, and that a killed run goes on exactly."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aajr.arena.training.checkpoints import load_checkpoint
from aajr.integrations.recipes import WEIGHTS, Recipe
from aajr.integrations.sb3 import _recipes as recipes
from aajr.integrations.sb3 import _segments as segments
from aajr.integrations.sb3 import epsilon_ramp, load_agent, train_recipe

SHORT = Recipe("CartPole-v1", eps=0.1, steps=2 * 2048, segments=2, environments=2)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(recipes, "_EPOCHS", 1)


def parameters(directory):
    return list(load_agent(directory).policy.parameters())


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_killed_run_goes_on_to_the_same_agent(tmp_path):
    assert list(train_recipe(SHORT, tmp_path / "whole")) == [0, 1, 2]
    run = train_recipe(SHORT, tmp_path / "killed")
    assert [next(run), next(run)] == [0, 1]
    run.close()
    assert list(train_recipe(SHORT, tmp_path / "killed")) == [1, 2]
    assert same(parameters(tmp_path / "whole"), parameters(tmp_path / "killed"))
    other = dataclasses.replace(SHORT, seed=1)
    list(train_recipe(other, tmp_path / "other"))
    assert not same(parameters(tmp_path / "whole"), parameters(tmp_path / "other"))


def test_a_directory_with_another_run_is_refused(tmp_path):
    run = train_recipe(SHORT, tmp_path)
    next(run), next(run)
    run.close()
    with pytest.raises(ValueError, match=r"other settings \(eps, method\); give the same"):
        next(train_recipe(dataclasses.replace(SHORT, method="sa", eps=0.2), tmp_path))


def test_nan_weights_stop_the_run_and_leave_the_last_good_checkpoint(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    agent = recipes._agent(SHORT)
    run = segments.learn_in_segments(agent, SHORT.steps, 2, 0, path)
    assert [next(run), next(run)] == [0, 1]
    with torch.no_grad():
        agent.policy.action_net.bias.fill_(torch.nan)
    agent.learn = lambda *arguments, **named: agent
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        next(run)
    tensors, meta = load_checkpoint(path)
    assert meta["segments"] == 1
    assert all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())


@pytest.mark.parametrize("method", ["plain", "adversarial", *WEIGHTS])
def test_every_method_is_what_its_name_says(method):
    robustness = recipes._agent(dataclasses.replace(SHORT, method=method)).robustness
    names = {
        "aajr": "AAJR",
        "global": "Frobenius",
        "random_direction": "RandomDirection",
        "sa": "StateAdversarial",
    }
    assert robustness["penalty"] == names.get(method)
    assert robustness["penalty_weight"] == WEIGHTS.get(method, 0.0)
    if method != "plain":
        assert robustness["placement"] == ("adversarial" if method == "adversarial" else "clean")
        assert (robustness["norm"], robustness["epsilon"]) == ("linf", 0.0)  # it rises from 0


@given(st.integers(1, 10**6), st.integers(1, 40), st.integers(1, 4000))
def test_parts_are_whole_rollouts_and_never_more_steps_than_asked(steps, parts, environments):
    recipe = Recipe("x", steps=steps, segments=parts, environments=environments)
    whole = recipe.parts * recipe.length
    assert recipe.parts <= parts
    assert recipe.length % recipe.rows == 0
    assert whole == recipe.rows or steps - recipe.parts * recipe.rows < whole <= steps


def test_floats_are_normalised():
    assert recipes._agent(SHORT).get_vec_normalize_env() is not None


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"method": "best"}, "method='best'"),
        ({"method": "plain", "weight": 1.0}, "weight=1.0 needs a penalty"),
        ({"eps": 0.0}, "eps=0.0"),
        ({"steps": 0}, "steps=0"),
        ({"norm": "l1"}, "norm='l1'"),
        ({"weight": -1.0}, "weight=-1.0"),
    ],
)
def test_bad_settings_are_named(change, named):
    with pytest.raises(ValueError, match=named):
        dataclasses.replace(SHORT, **change)


def test_an_unknown_environment_is_named(tmp_path):
    with pytest.raises(ValueError, match="Hoper-v5"):
        next(train_recipe(dataclasses.replace(SHORT, env="Hoper-v5"), tmp_path))


def test_the_radius_grows_between_two_shares_of_the_run():
    updates = 3 * 3  # 256 rows in 3 batches, 3 epochs
    epsilon = epsilon_ramp(0.4, 1280, 256, updates, (0.25, 0.75))
    found = [epsilon(update) for update in range(5 * updates)]
    expected = [0.0, 0.0, 0.4 * (0.4 - 0.25) / 0.5, 0.4 * (0.6 - 0.25) / 0.5, 0.4]
    assert found == pytest.approx([value for value in expected for _ in range(updates)])
