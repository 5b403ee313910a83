"""A study of where alignment should pay: n sources report one position, and any k may lie."""

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
