"""The theory held against random problems: ``aajr theory``."""

from aajr.studies.theory._report import render, write
from aajr.studies.theory._study import PRESETS, TheoryConfig, study, violations

__all__ = ["PRESETS", "TheoryConfig", "render", "study", "violations", "write"]
