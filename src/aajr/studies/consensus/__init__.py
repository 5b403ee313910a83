"""Where alignment should pay: any k of n sources of one position may lie."""

from aajr.studies._study import Study
from aajr.studies.consensus._report import REPORT
from aajr.studies.consensus._study import PRESETS, Settings, gather, stages

STUDY = Study(
    name="consensus",
    presets=PRESETS,
    stages=stages,
    gather=gather,
    report=REPORT,
    output="consensus/{preset}",
)

__all__ = ["PRESETS", "STUDY", "Settings"]
