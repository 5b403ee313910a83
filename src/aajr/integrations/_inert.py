"""Reading of pickles as plain data: nothing that the file names is imported or called."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np


class Inert:
    """An object of a pickle, or the result of a function that the pickle wanted to call.

    Attributes:
        name: full name of its class or function, for instance ``gymnasium.spaces.box.Box``.
        arguments: arguments of the call, and the entries of a list.
        state: the attributes by name, and the entries of a dict.
        raw: the state as the file gives it.
    """

    name = ""
    arguments: tuple[Any, ...]
    state: dict[Any, Any]
    raw: Any

    def __new__(cls, *arguments: Any, **named: Any) -> Inert:
        """Keep the arguments; pickles make objects without ``__init__``."""
        made = super().__new__(cls)
        made.arguments, made.state, made.raw = arguments, dict(named), None
        return made

    def __setstate__(self, state: Any) -> None:
        """Keep the attributes; those in slots are the second of a pair."""
        self.raw = state
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self.state.update(part)

    def __call__(self, *arguments: Any, **named: Any) -> Inert:
        """Where a pickle calls what a function would have returned: nothing happens."""
        return self

    def __setitem__(self, key: Any, value: Any) -> None:
        """Keep an entry of a dict."""
        self.state[key] = value

    def append(self, value: Any) -> None:
        """Keep an entry of a list."""
        self.arguments = (*self.arguments, value)

    def extend(self, values: Any) -> None:
        """Keep entries of a list."""
        self.arguments = (*self.arguments, *values)


class _Reader(pickle.Unpickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self._made: dict[str, type[Inert]] = {}

    def find_class(self, module: str, name: str) -> Any:
        """A stand-in for any class and any function."""
        full = f"{module}.{name}"
        return self._made.setdefault(full, type("Inert", (Inert,), {"name": full}))


def read_inert(content: bytes) -> Any:
    """Return the object of a pickle, with inert stand-ins for all but Python's own values.

    A pickle is a program that may call any function. Here every class and function that it names
    becomes a class of :class:`Inert`, made for this file alone, so that a call makes a record.

    Raises:
        ValueError: bytes that are no pickle, or that refer to other files.

    Example:
        >>> class Hostile:
        ...     def __reduce__(self):
        ...         return eval, ("1 / 0",)
        >>> found = read_inert(pickle.dumps(Hostile()))
        >>> found.name, found.arguments
        ('builtins.eval', ('1 / 0',))

    Source: https://docs.python.org/3/library/pickle.html#restricting-globals.
    """
    try:
        return _Reader(io.BytesIO(content)).load()
    except Exception as error:  # a damaged or hostile pickle may raise anything
        raise ValueError(f"the pickle cannot be read ({type(error).__name__}: {error})") from error


def name_of(value: Any) -> str:
    """Full name of a class or function in a pickle; empty for anything else."""
    return value.name if isinstance(value, type) and issubclass(value, Inert) else ""


def array_of(value: Any) -> np.ndarray:
    """The array, or number, that numpy wrote into a pickle.

    Raises:
        ValueError: anything else, or an array of anything but numbers.

    Example:
        >>> array_of(read_inert(pickle.dumps(np.arange(3.0))))
        array([0., 1., 2.])
    """
    try:
        return _array(value)
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise ValueError(f"the pickle holds no array of numbers here ({error})") from error


def _array(value: Any) -> np.ndarray:
    if not isinstance(value, Inert):
        found = np.asarray(value)
        _check_numbers(found.dtype)
        return found
    kind = value.name.rpartition(".")[2]
    if kind == "_frombuffer":
        content, dtype, shape, order, *axes = value.arguments
        flat = np.frombuffer(_bytes(content), _dtype(dtype))
        if order == "K":
            return flat.reshape(shape).transpose(*axes)
        return flat.reshape(shape, order=order)
    if kind == "_reconstruct":
        _, shape, dtype, fortran, content = value.raw
        flat = np.frombuffer(_bytes(content), _dtype(dtype))
        return flat.reshape(shape, order="F" if fortran else "C")
    if kind == "scalar":
        dtype, content = value.arguments
        return np.frombuffer(_bytes(content), _dtype(dtype)).reshape(())
    raise ValueError(f"it is a {value.name}")


def _bytes(value: Any) -> Any:
    """Bytes, which old protocols write as text."""
    if isinstance(value, Inert):
        return value.arguments[0].encode("latin1") if value.arguments else b""
    return value


def _dtype(value: Any) -> np.dtype[Any]:
    dtype = np.dtype(value.arguments[0]) if isinstance(value, Inert) else np.dtype(value)
    _check_numbers(dtype)
    order = value.raw[1] if isinstance(value, Inert) and value.raw else "|"
    return dtype if order == "|" else dtype.newbyteorder(order)


def _check_numbers(dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "biuf":
        raise ValueError(f"its entries are of type {dtype}")
