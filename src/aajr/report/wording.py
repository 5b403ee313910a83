"""Numbers as text, in the same form for the terminal, the plots and the page."""

from __future__ import annotations

from collections.abc import Sequence

from aajr.statistics.intervals import Interval

MISSING = "–"
"""Text of a value that was not measured."""


def percent(value: float | None) -> str:
    """A share in whole per cent, without the sign %."""
    return MISSING if value is None else f"{100 * value:.0f}"


def in_points(value: float) -> str:
    """A difference of shares in percentage points, with its sign and one decimal."""
    text = f"{100 * value:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "−")


def interval_ends(interval: Interval | None) -> str:
    """The interval of a share in per cent, such as ``55–66``; empty if it was not estimated."""
    if interval is None or interval.low is None or interval.high is None:
        return ""
    return f"{percent(interval.low)}–{percent(interval.high)}"


def difference(interval: Interval | None, between: str = " ") -> str:
    """A difference with its interval, such as ``+2.1 [−0.4, +4.6]``."""
    if interval is None:
        return MISSING
    if interval.low is None or interval.high is None:
        return f"{in_points(interval.estimate)}{between}[not estimated]"
    low, high = in_points(interval.low), in_points(interval.high)
    return f"{in_points(interval.estimate)}{between}[{low}, {high}]"


def with_interval(interval: Interval, form: str, between: str = " to ") -> str:
    """A figure and its interval, each in a format such as ``{:.2f}``: ``0.61 (0.55 to 0.66)``."""
    text = form.format(interval.estimate)
    if interval.low is None or interval.high is None:
        return text
    return f"{text} ({form.format(interval.low)}{between}{form.format(interval.high)})"


def plural(count: int, noun: str) -> str:
    """A count with its noun: ``1 seed``, ``2 seeds``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def number(value: float | None) -> str:
    """A figure with three significant digits."""
    if value is None:
        return MISSING
    if value != 0 and not 1e-3 <= abs(value) < 1e5:
        return f"{value:.2e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:#.3g}".rstrip(".")


def amount(value: float | None) -> str:
    """A figure with three significant digits, or whole from 100 on: ``9.41``, ``3246``.

    Example:
        >>> amount(3245.7), amount(-0.5), amount(2.5e7)
        ('3246', '-0.500', '2.50e7')
    """
    whole = value is not None and 99.95 <= abs(value) < 1e6
    return f"{value:.0f}" if whole else number(value)


def weight(value: float | None) -> str:
    """A weight λ as it was given."""
    return MISSING if value is None else f"{value:g}"


def listed(words: Sequence[str]) -> str:
    """The words as a list: ``a``, ``a and b``, ``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
