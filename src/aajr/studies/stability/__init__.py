"""A study in real training: does the constraint form keep γ, and are the safe step rules safe?"""

from aajr.studies._study import Study
from aajr.studies.stability._protocol import PROTOCOLS, Method, Protocol
from aajr.studies.stability._report import REPORT
from aajr.studies.stability._study import decisive, gather, stages

STUDY = Study(
    name="stability",
    presets=PROTOCOLS,
    stages=stages,
    gather=gather,
    report=REPORT,
    output="stability",
    decisive=decisive,
)

__all__ = ["PROTOCOLS", "STUDY", "Method", "Protocol"]
