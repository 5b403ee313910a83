"""A check of the host library's version against the tested versions."""

from __future__ import annotations

import warnings
from importlib.metadata import PackageNotFoundError, version

from packaging.specifiers import SpecifierSet


def warn_untested(distribution: str, lower: str, below: str, *, extra: str) -> None:
    """Warn if the installed host is outside ``lower <= version < below``.

    Args:
        distribution: the host's name on PyPI.
        lower: the oldest release tested.
        below: the first release not tested; its own pre-releases are not tested either.
        extra: aajr's extra that installs the host.

    Raises:
        ImportError: the host is not installed; the message names the command.

    Example:
        >>> warn_untested("packaging", "1", "1000", extra="sb3")
    """
    try:
        installed = version(distribution)
    except PackageNotFoundError as error:
        raise ImportError(
            f"this adapter needs {distribution}: pip install 'aajr[{extra}]'"
        ) from error
    tested = f">={lower},<{below}"
    if not SpecifierSet(tested).contains(installed, prereleases=True):
        warnings.warn(
            f"{distribution} {installed} is outside the tested range {tested}; "
            f"training may differ from the host's: pip install '{distribution}{tested}'",
            stacklevel=3,
        )
