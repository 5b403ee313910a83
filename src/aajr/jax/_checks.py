"""Checks of user input: shapes and dtypes everywhere, values only outside jit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from aajr._settings import check_choice as check_choice
from aajr._settings import check_count as check_count
from aajr._settings import check_number as check_number
from aajr._settings import check_same_shape as check_same_shape
from aajr._settings import is_traced as is_traced


def is_array(value: object) -> bool:
    """Whether the value is an array of JAX or NumPy."""
    return isinstance(value, Array | np.ndarray)


def check_array(name: str, value: Any) -> None:
    """Raise ValueError unless ``value`` is a float array."""
    if isinstance(value, Mapping):
        raise ValueError(
            f"{name} is a dict with {sorted(map(str, value))}; give one array: concatenate the "
            "entries, or attack one entry with a policy that closes over the others"
        )
    if not is_array(value):
        raise ValueError(f"{name} is a {type(value).__name__}; give a jax.Array")
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise ValueError(f"{name} has dtype {value.dtype}; convert it with .astype(jnp.float32)")


def check_callable(name: str, value: object, remedy: str) -> None:
    """Raise ValueError unless ``value`` can be called."""
    if not callable(value):
        raise ValueError(f"{name} is a {type(value).__name__}; give {remedy}")


def check_instance(name: str, value: object, kind: type, remedy: str) -> None:
    """Raise ValueError unless ``value`` is an instance of ``kind``, and not that class itself."""
    if not isinstance(value, kind):
        what = f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
        raise ValueError(f"{name} is {what}; give {remedy}")


def check_batch(name: str, value: Array) -> None:
    """Raise ValueError unless ``value`` is a finite float array ``[batch, ...]`` with rows."""
    check_array(name, value)
    if value.ndim < 2 or value.shape[0] == 0:
        raise ValueError(
            f"{name} has shape {value.shape}; give [batch, ..., features] with at least one row"
        )
    check_finite(name, value)


def check_finite(name: str, value: Array) -> None:
    """Raise ValueError if ``value`` is known and holds NaN or infinite values."""
    if is_traced(value):
        return
    bad = int((~np.isfinite(np.asarray(value))).sum())
    if bad:
        raise ValueError(f"{name} holds {bad} NaN or infinite values; clean it first")


def check_key(key: Array) -> None:
    """Raise ValueError unless ``key`` is one random key, new style or old."""
    new = is_array(key) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.ndim == 0
    old = is_array(key) and key.dtype == jnp.uint32 and key.shape == (2,)
    if not (new or old):
        kind = f"{key.dtype}{list(key.shape)}" if is_array(key) else type(key).__name__
        raise ValueError(f"key is {kind}; give one random key, jax.random.key(0)")


def check_mask(name: str, mask: Array | None, x: Array) -> None:
    """Raise ValueError unless ``mask`` is None or boolean, fits one sample of x and allows some."""
    if mask is None:
        return
    if not is_array(mask) or mask.dtype != bool:
        kind = mask.dtype if is_array(mask) else type(mask).__name__
        raise ValueError(f"{name} is {kind}; give a boolean array, True for features to count")
    event = x.shape[1:]
    sizes = zip(reversed(mask.shape), reversed(event), strict=False)
    if mask.ndim > len(event) or any(size not in (1, other) for size, other in sizes):
        raise ValueError(
            f"{name} of shape {mask.shape} does not fit x of shape {x.shape}; give a shape that "
            f"broadcasts to one sample, {event}"
        )
    if not is_traced(mask) and not np.asarray(mask).any():
        raise ValueError(f"{name} is False everywhere; allow at least one feature")


def check_data(data: Mapping[str, Array] | None, x: Array) -> dict[str, Array]:
    """The data; ValueError unless every entry is an array with one row per sample."""
    if data is not None and not isinstance(data, Mapping):
        raise ValueError(f"data is a {type(data).__name__}; give a dict of arrays")
    for name, value in (data or {}).items():
        if not is_array(value):
            raise ValueError(
                f"data[{name!r}] is a {type(value).__name__}; give an array with one row per sample"
            )
        if value.shape[:1] != x.shape[:1]:
            raise ValueError(
                f"data[{name!r}] has shape {value.shape}; its first dimension must be the batch, "
                f"{x.shape[0]}"
            )
    return dict(data or {})


def check_output(output: Any, x: Array) -> None:
    """Raise ValueError unless the policy gave, or would give, one float array, batch first."""
    if not is_array(output) and not isinstance(output, jax.ShapeDtypeStruct):
        raise ValueError(
            f"the policy returned a {type(output).__name__}; wrap it to return one array of "
            "means, logits or distribution parameters"
        )
    if not jnp.issubdtype(output.dtype, jnp.floating):
        raise ValueError(
            f"the policy returned {output.dtype}; return what it computes before the choice of an "
            "action: means, logits or distribution parameters"
        )
    if output.shape[:1] != x.shape[:1] or len(output.shape) < 2:
        raise ValueError(
            f"the policy maps x {x.shape} to {output.shape}; it must keep the batch first and "
            "return [batch, ..., outputs]"
        )
    if is_array(output):
        check_logits(output)


def check_logits(output: Array) -> None:
    """Raise ValueError if a known output is not finite; -inf is allowed for masked actions."""
    if is_traced(output):
        return
    masked = np.asarray(output == -jnp.inf)
    if masked.all(-1).any():
        raise ValueError(
            "the policy's output is -inf everywhere in some row, which masks every action; allow "
            "at least one"
        )
    check_finite("the policy's output", jnp.where(masked, 0, output))
