"""AAJR and its rivals inside TRL's trainers: ``pip install 'aajr[llm]'``.

``robustify`` returns a trainer class that takes one more argument. Everything else is TRL's own.
"""

from aajr.integrations.hosts import warn_untested

warn_untested("trl", "1.16", "1.17", extra="llm")

from aajr.integrations.trl._settings import METHODS, Robustness  # noqa: E402
from aajr.integrations.trl._trainer import RobustTrainer, robustify  # noqa: E402

__all__ = ["METHODS", "RobustTrainer", "Robustness", "robustify"]
