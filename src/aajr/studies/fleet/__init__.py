"""A study of a fleet whose vehicles know others by reports, any k of n of which may lie."""

from aajr.studies._study import Study
from aajr.studies.fleet._report import REPORT
from aajr.studies.fleet._study import PRESETS, Settings, gather, stages

STUDY = Study(
    name="fleet",
    presets=PRESETS,
    stages=stages,
    gather=gather,
    report=REPORT,
    output="fleet/{preset}",
)

__all__ = ["PRESETS", "STUDY", "Settings"]
