"""Frozen dataclasses as pytrees, whose checks run when a user builds one and never inside JAX."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

import jax

Node = TypeVar("Node")


def pytree(*data: str) -> Callable[[type[Node]], type[Node]]:
    """Register a dataclass: the fields named are its children, all others are static.

    JAX rebuilds instances without ``__init__``, because it also puts markers and shapes in place
    of arrays.

    Args:
        data: names of the fields that hold arrays or further pytrees.

    Returns:
        A decorator.

    Example:
        >>> import jax
        >>> from aajr.jax import Ball
        >>> jax.tree.map(lambda leaf: 2 * leaf, Ball("l2", 0.5)).epsilon
        1.0
    """

    def register(cls: type[Node]) -> type[Node]:
        static = [f.name for f in fields(cls) if f.name not in data]  # type: ignore[arg-type]

        def flatten(node: Node) -> tuple[list[tuple[Any, Any]], tuple[Any, ...]]:
            children = [(jax.tree_util.GetAttrKey(n), getattr(node, n)) for n in data]
            return children, tuple(getattr(node, n) for n in static)

        def unflatten(meta: tuple[Any, ...], children: Any) -> Node:
            node = object.__new__(cls)
            for name, value in zip((*data, *static), (*children, *meta), strict=True):
                object.__setattr__(node, name, value)
            return node

        jax.tree_util.register_pytree_with_keys(cls, flatten, unflatten)
        return cls

    return register
