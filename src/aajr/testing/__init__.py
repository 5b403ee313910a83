"""The test suites that every adversary and every penalty must pass, also your own.

:mod:`aajr.testing.environments` holds that of the arena's environments.

Inherit a contract in a test class, write ``make``, and pytest runs the whole suite on it. The
package needs pytest (``pip install 'aajr[testing]'``); only tests import it.

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
    "environments",
    "penalties",
):  # a failed assert then shows both sides
    pytest.register_assert_rewrite(f"aajr.testing.{part}")

from aajr.testing.adversaries import AdversaryContract  # noqa: E402
from aajr.testing.penalties import PenaltyContract  # noqa: E402

__all__ = ["AdversaryContract", "PenaltyContract"]
