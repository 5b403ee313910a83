"""One docstring for a class that torch and JAX both have."""

from __future__ import annotations

from inspect import cleandoc
from typing import TypeVar

Class = TypeVar("Class", bound=type)


def documented(cls: Class) -> Class:
    """Put the docstring of the class's first base, the shared one, before the class's own.

    The class's own docstring then holds only an example and what differs between torch and JAX.

    Example:
        >>> from aajr.penalties import AAJR
        >>> AAJR.__doc__.partition("\\n")[0]
        'Sensitivity only along the directions in which the adversary pushes.'
    """
    shared, own = (cleandoc(kind.__doc__ or "") for kind in (cls.__bases__[0], cls))
    cls.__doc__ = f"{shared}\n\n{own}"
    return cls
