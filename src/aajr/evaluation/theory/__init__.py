"""The theory held against random problems: ``aajr theory``."""

from aajr.evaluation.theory._report import render, write
from aajr.evaluation.theory._study import PRESETS, TheoryConfig, study, violations

__all__ = ["PRESETS", "TheoryConfig", "render", "study", "violations", "write"]
