"""A study that checks the theory on random problems: ``aajr study theory``."""

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
    source=True,  # the study takes minutes, so a change of code may recompute everything
    failed=lambda results: violations(results) > 0,
)

__all__ = ["PRESETS", "STUDY", "TheoryConfig", "violations"]
