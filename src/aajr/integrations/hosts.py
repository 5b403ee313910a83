"""A check of the host library's version against the tested versions."""

from __future__ import annotations

import warnings
from importlib.metadata import PackageNotFoundError, version

from packaging.specifiers import SpecifierSet


def need(distribution: str, *, extra: str) -> str:
    """The installed version of a package.

    Args:
        distribution: its name on PyPI.
        extra: aajr's extra that installs it.

    Raises:
        ImportError: it is not installed; the message names the command.

    Example:
        >>> need("packaging", extra="sb3") > "2"
        True
    """
    try:
        return version(distribution)
    except PackageNotFoundError as error:
        raise ImportError(
            f"this adapter needs {distribution}: pip install 'aajr[{extra}]'"
        ) from error


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
    installed = need(distribution, extra=extra)
    tested = f">={lower},<{below}"
    if not SpecifierSet(tested).contains(installed, prereleases=True):
        warnings.warn(
            f"{distribution} {installed} is outside the tested range {tested}; "
            f"training may differ from the host's: pip install '{distribution}{tested}'",
            stacklevel=3,
        )
