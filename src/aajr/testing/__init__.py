"""The suites that every adversary and every penalty must pass, ours and yours.

Inherit a contract in a test class, write ``make``, and pytest runs the whole suite on it. The
package needs pytest (``pip install 'aajr[testing]'``) and is imported by tests alone.

Example:
    >>> from aajr import AAJR, Penalty
    >>> from aajr.testing import PenaltyContract
    >>> class TestMine(PenaltyContract):
    ...     def make(self, **common) -> Penalty:
    ...         return AAJR(**common)
"""

import pytest

for part in (
    "_contract",
    "adversaries",
    "dense",
    "penalties",
):  # so that a failed assert shows both sides
    pytest.register_assert_rewrite(f"aajr.testing.{part}")

from aajr.testing.adversaries import AdversaryContract  # noqa: E402
from aajr.testing.penalties import PenaltyContract  # noqa: E402

__all__ = ["AdversaryContract", "PenaltyContract"]
