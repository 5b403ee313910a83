"""Which versions of a host library an adapter was tested with."""

from __future__ import annotations

import re
import warnings
from importlib.metadata import PackageNotFoundError, version


def tested_range(distribution: str, lower: str, below: str, *, extra: str) -> None:
    """Warn where the installed host lies outside ``lower <= version < below``.

    Args:
        distribution: the host's name on PyPI.
        lower: the oldest release tested.
        below: the first release not tested.
        extra: aajr's extra that installs the host.

    Raises:
        ImportError: the host is not installed; the message names the command.
    """
    try:
        installed = version(distribution)
    except PackageNotFoundError as error:
        raise ImportError(
            f"this adapter needs {distribution}: pip install 'aajr[{extra}]'"
        ) from error
    if not _release(lower) <= _release(installed) < _release(below):
        warnings.warn(
            f"{distribution} {installed} is outside the tested range >={lower},<{below}; "
            f"training may differ from the host's: pip install '{distribution}>={lower},<{below}'",
            stacklevel=3,
        )


def _release(text: str) -> tuple[int, ...]:
    numbers = re.match(r"\d+(\.\d+)*", text)
    parts = [int(part) for part in numbers[0].split(".")] if numbers else [0]
    while len(parts) > 1 and parts[-1] == 0:
        parts.pop()
    return tuple(parts)
