"""The theory held against random problems: ``aajr study theory``."""

from aajr.studies._study import Study
from aajr.studies.theory._report import REPORT
from aajr.studies.theory._study import PRESETS, TheoryConfig, gather, stages, violations

STUDY = Study(
    name="theory",
    presets=PRESETS,
    stages=stages,
    gather=gather,
    report=REPORT,
    output="theory",
    source=True,  # minutes: no value of other code need be kept
    failed=lambda results: violations(results) > 0,
)

__all__ = ["PRESETS", "STUDY", "TheoryConfig", "violations"]
