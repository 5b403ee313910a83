"""What both sides export is called in the same way: names, order, defaults and kinds."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable

import pytest

import aajr.jax
from aajr import adversaries, geometry, jacobian, minimax, penalties, trajectory

TORCH = (aajr, adversaries, geometry, jacobian, minimax, penalties, trajectory)
ALONE = {"MinimaxState"}
"""What JAX alone needs: state that torch keeps inside an object."""
EXTRA = {
    "Minimax": ({"seed", "diagnostics_interval"}, set()),
    "Minimax.__call__": (set(), {"state"}),
    "RobustLoss": (set(), {"state"}),
}
"""Parameters of one side alone, of torch and of JAX: state again, and what is done with it."""


def on_torch(name: str) -> object:
    return next(getattr(home, name) for home in TORCH if hasattr(home, name))


def default(parameter: inspect.Parameter) -> object:
    """A default that compares: a key or generator is one thing, and NaN is JAX's None."""
    value = parameter.default
    if value is inspect.Parameter.empty or isinstance(value, (bool, int, str)):
        return value
    if value is None or value != value:
        return None
    return value if isinstance(value, (float, tuple)) else type(value).__name__


def parameters(called: Callable[..., object], without: set[str]) -> list[tuple[str, object]]:
    found = inspect.signature(called).parameters.values()
    return [
        ("generator" if one.name == "key" else one.name, default(one))
        for one in found
        if one.name not in without
    ]


def pairs() -> list[tuple[str, Callable[..., object], Callable[..., object]]]:
    """Every class and function of both sides, and ``__call__`` of the classes."""
    found = []
    for name in sorted(set(aajr.jax.__all__) - ALONE):
        ours, theirs = on_torch(name), getattr(aajr.jax, name)
        if not (inspect.isclass(theirs) or inspect.isfunction(theirs)):
            continue
        if not (inspect.isclass(theirs) and issubclass(theirs, Exception)):
            found.append((name, ours, theirs))
        if inspect.isclass(theirs) and "__call__" in dir(theirs):
            found.append((f"{name}.__call__", ours.__call__, theirs.__call__))
    return found


PAIRS = pairs()


@pytest.mark.parametrize(("name", "ours", "theirs"), PAIRS, ids=[name for name, *_ in PAIRS])
def test_names_order_and_defaults_are_the_same(name, ours, theirs):
    torch_alone, jax_alone = EXTRA.get(name, (set(), set()))
    assert parameters(ours, torch_alone) == parameters(theirs, jax_alone)
    assert torch_alone <= set(inspect.signature(ours).parameters)
    assert jax_alone <= set(inspect.signature(theirs).parameters)


@pytest.mark.parametrize(("name", "ours", "theirs"), PAIRS, ids=[name for name, *_ in PAIRS])
def test_what_torch_takes_by_position_jax_takes_too(name, ours, theirs):
    """A call that works on the torch side works on the other."""
    kinds = [inspect.signature(side).parameters.values() for side in (ours, theirs)]
    positional, keyword = (
        ["generator" if p.name == "key" else p.name for p in side if p.kind is not p.KEYWORD_ONLY]
        for side in kinds
    )
    assert keyword[: len(positional)] == positional


def test_fields_of_data_are_the_same():
    for name in ("Trajectory", "Reference", "Ball", "AAJR", "ProjectedGradientAscent"):
        ours, theirs = on_torch(name), getattr(aajr.jax, name)
        names = [[field.name for field in dataclasses.fields(side)] for side in (ours, theirs)]
        assert names[0] == names[1], name


def test_the_walk_sees_the_library():
    names = {name for name, *_ in PAIRS}
    assert {"AAJR", "Adversary.__call__", "Penalty.__call__", "fgsm", "diagnose"} <= names
