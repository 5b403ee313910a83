"""Does the constraint form hold γ, and do the safe step rules hold, where agents really train?"""

from aajr.studies._study import Study
from aajr.studies.stability._protocol import PROTOCOLS, Protocol, Way
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

__all__ = ["PROTOCOLS", "STUDY", "Protocol", "Way"]
