"""Packages whose names load their own module when first used (PEP 562)."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any


def lazy_names(package: str, *modules: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package that loads nothing at its own import.

    Which module a name comes from is read from the package's imports under ``if TYPE_CHECKING``.
    The modules named there are attributes of the package too.

    Args:
        package: its ``__name__``.
        modules: further modules of the package that are its attributes.

    Returns:
        The two functions, to be bound to these names in the package.

    Example:
        >>> load, listing = lazy_names("aajr")
        >>> load("Ball").__module__
        'aajr.geometry._ball'
    """
    homes = dict(_imports_for_the_type_checker(package))
    attributes = {*modules, *(home.removeprefix(f"{package}.") for home in homes.values())}

    def load(name: str) -> Any:
        if name in attributes:
            return import_module(f"{package}.{name}")
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(import_module(homes[name]), name)
        setattr(sys.modules[package], name, found)  # later uses no longer call this function
        return found

    def listing() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes, *attributes})

    return load, listing


def _imports_for_the_type_checker(package: str) -> Iterator[tuple[str, str]]:
    """Every name imported under ``if TYPE_CHECKING``, and its module."""
    spec: Any = sys.modules[package].__spec__
    for node in ast.parse(spec.loader.get_source(package)).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for origin in node.body:
                if isinstance(origin, ast.ImportFrom) and origin.module:
                    yield from ((alias.name, origin.module) for alias in origin.names)
