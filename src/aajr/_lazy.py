"""Packages whose names load their own module when first used (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, names: Mapping[str, Collection[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package that loads nothing at its own import.

    Args:
        package: its ``__name__``.
        names: of each module of the package, what the package exports from it. The module itself
            is an attribute too.

    Returns:
        The two functions, to be bound to these names in the package.

    Example:
        >>> load, listing = lazy_names("json", {"decoder": ("JSONDecoder",)})
        >>> load("JSONDecoder").__module__
        'json.decoder'
    """
    homes = {name: home for home, exported in names.items() for name in exported}

    def load(name: str) -> Any:
        if name in names:
            return import_module(f"{package}.{name}")
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(import_module(f"{package}.{homes[name]}"), name)
        setattr(sys.modules[package], name, found)  # later uses do without this function
        return found

    def listing() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes, *names})

    return load, listing
