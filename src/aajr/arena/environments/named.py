"""Objects by their names, as the command line gives them."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any


def resolve(name: str) -> Any:
    """Return the object that ``package.module:attribute`` names.

    The module is imported, which runs its code. The current directory is searched too, as
    ``python -m`` does.

    Args:
        name: a module and an attribute; dots lead to attributes of attributes.

    Raises:
        ValueError: another form, a module that does not exist, or one without the attribute.
        ImportError: the module exists, but one of its own imports fails.

    Example:
        >>> resolve("math:pi")
        3.141592653589793
        >>> resolve("pathlib:Path.home").__name__
        'home'
    """
    module, colon, attribute = name.partition(":")
    parts = attribute.split(".")
    if not colon or not all(part.isidentifier() for part in (*module.split("."), *parts)):
        raise ValueError(f"{name!r} names no object; write package.module:attribute")
    found = _module(name, module)
    for index, part in enumerate(parts):
        if not hasattr(found, part):
            place = ".".join([module, *parts[:index]])
            raise ValueError(f"{name!r}: {place} has no attribute {part!r}; check its spelling")
        found = getattr(found, part)
    return found


def _module(name: str, module: str) -> Any:
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if f"{module}.".startswith(f"{missing}."):
            raise ValueError(
                f"{name!r}: there is no module {missing!r}; check its spelling, install it, or "
                "change to its directory"
            ) from None
        raise
