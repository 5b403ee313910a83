"""Checkpoints as arrays and JSON: loading one runs no code."""

from __future__ import annotations

import json
import zipfile
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

from aajr.jax._checks import is_array

State = TypeVar("State")

FACTS = "facts"


def described(value: Any) -> Any:
    """Settings as JSON values; of a function only its name is known.

    Example:
        >>> from aajr.jax import Ball
        >>> described(Ball("linf", 0.1))["epsilon"]
        0.1
    """
    if is_dataclass(value):
        known = {f.name: described(getattr(value, f.name)) for f in fields(value)}
        return {"type": type(value).__name__, **known}
    if isinstance(value, dict):
        return {str(name): described(one) for name, one in value.items()}
    if isinstance(value, tuple | list):
        return [described(one) for one in value]
    if is_array(value):
        return np.asarray(value).tolist()
    if callable(value):
        return f"{value.__module__}.{value.__qualname__}"
    return value


def write_state(path: Path, state: Any, facts: dict[str, Any]) -> None:
    """Write a pytree, each leaf under its path, and facts; the file appears complete or not."""
    leaves = {name: np.asarray(_numbers(leaf)) for name, leaf in _named(state).items()}
    draft = path.with_name(path.name + ".tmp")
    with draft.open("wb") as file:
        np.savez(file, allow_pickle=False, **{FACTS: np.array(json.dumps(facts))}, **leaves)
    draft.replace(path)


def read_state(path: Path, like: State) -> State:
    """Read the pytree that :func:`write_state` wrote.

    Args:
        path: the file.
        like: a pytree of the same structure, shapes and dtypes.

    Raises:
        ValueError: a damaged file, or one of another structure.
    """
    stored, _ = _read(path)
    return jax.tree.unflatten(
        jax.tree.structure(like),
        [_restored(path, name, stored, leaf) for name, leaf in _named(like).items()],
    )


def read_facts(path: Path) -> dict[str, Any]:
    """The facts in a file of :func:`write_state`; ValueError if it is damaged."""
    return _read(path)[1]


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            stored = {name: file[name] for name in file.files}
        return stored, json.loads(str(stored.pop(FACTS)))
    except FileNotFoundError:
        raise
    except (zipfile.BadZipFile, EOFError, KeyError, ValueError, OSError) as error:
        raise ValueError(f"{path} is damaged ({error}); remove it and train again") from error


def _restored(path: Path, name: str, stored: dict[str, Any], leaf: Any) -> Any:
    expected, own = np.asarray(_numbers(leaf)), stored.get(name)
    if own is None or (own.shape, own.dtype) != (expected.shape, expected.dtype):
        raise ValueError(
            f"{path}: {name} is {'missing' if own is None else own.shape}, expected "
            f"{expected.shape} of {expected.dtype}; it was written with other settings"
        )
    return jax.random.wrap_key_data(own) if _is_key(leaf) else jax.numpy.asarray(own)


def _named(state: Any) -> dict[str, Any]:
    """The leaves by their paths, such as ``params/actor/0/weight``."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _numbers(leaf: Any) -> Any:
    """A key of JAX as numbers, all else as it is."""
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)
