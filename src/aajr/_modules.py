"""The modules that a callable runs, as far as they can be found in Python."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from types import CodeType, FunctionType, MethodType
from typing import Any

from torch import nn

_DEPTH = 6
_MOST = 256
_LIBRARIES = ("torch", "numpy", "tensordict", "torchrl", "builtins")


def modules_behind(function: Callable[..., Any]) -> list[nn.Module]:
    """The outermost modules that ``function`` runs: itself, or what it wraps.

    The search covers bound methods, ``functools.partial``, ``__wrapped__``, closures, globals that
    the code names, defaults, attributes of callable objects, and lists, tuples and dicts in any of
    these.

    Example:
        >>> from torch import nn
        >>> body = nn.Linear(3, 2)
        >>> modules_behind(lambda x: body(x).tanh()) == [body]
        True
    """
    if isinstance(function, nn.Module):
        return [function]
    found: list[nn.Module] = []
    seen: set[int] = set()
    reached = [function]
    for _ in range(_DEPTH):
        fresh = [thing for thing in reached if id(thing) not in seen and not seen.add(id(thing))]  # type: ignore[func-returns-value]
        found += [thing for thing in fresh if isinstance(thing, nn.Module)]
        parts = (_parts(thing) for thing in fresh if not isinstance(thing, nn.Module))
        reached = [part for several in parts for part in several]
    return found


def everything_in(roots: list[nn.Module]) -> list[nn.Module]:
    """The modules and all their children, each once; ``Module.modules`` without its names."""
    found = dict.fromkeys(roots)
    waiting = list(roots)
    while waiting:
        children = [child for child in waiting.pop()._modules.values() if child is not None]
        waiting += [child for child in children if child not in found]
        found |= dict.fromkeys(children)
    return list(found)


def versions(modules: list[nn.Module]) -> tuple[int, ...] | None:
    """The version counter of every tensor of the modules, which each in-place write raises."""
    tensors = [
        tensor
        for module in modules
        for tensor in (*module._parameters.values(), *module._buffers.values())
        if tensor is not None
    ]
    if not tensors or any(tensor.is_inference() for tensor in tensors):
        return None
    return tuple(tensor._version for tensor in tensors)


def _parts(thing: Any) -> Iterator[Any]:
    """The objects that a callable or a container holds."""
    if isinstance(thing, FunctionType):
        yield from _parts_of_function(thing)
    elif isinstance(thing, MethodType):
        yield from (thing.__self__, thing.__func__)
    elif isinstance(thing, functools.partial):
        yield from (thing.func, *thing.args, *thing.keywords.values())
    elif isinstance(thing, Mapping):
        yield from islice(thing.values(), _MOST)
    elif isinstance(thing, (list, tuple)):
        yield from thing[:_MOST]
    elif not isinstance(thing, type) and not _is_library(type(thing).__module__):
        yield from getattr(thing, "__dict__", {}).values()
        yield from (getattr(thing, name) for name in _slots(thing) if hasattr(thing, name))
        yield vars(type(thing)).get("__call__")


def _parts_of_function(function: FunctionType) -> Iterator[Any]:
    if _is_library(function.__globals__.get("__name__")):  # functools.wraps copies __module__
        return
    yield from vars(function).values()  # functools.wraps leaves __wrapped__ here
    yield from (cell.cell_contents for cell in function.__closure__ or () if _filled(cell))
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    yield from (
        function.__globals__[name]
        for name in _names(function.__code__)
        if name in function.__globals__
    )


def _names(code: CodeType) -> Iterator[str]:
    """Global names of a function and of the functions it defines."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - raises while the variable is not assigned
    except ValueError:
        return False
    return True


def _slots(thing: Any) -> tuple[str, ...]:
    slots = getattr(type(thing), "__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _is_library(module: str | None) -> bool:
    return (module or "builtins").split(".")[0] in _LIBRARIES
