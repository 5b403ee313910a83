"""Orders in a tool's output that the model must use: which training makes it not obey them."""

from aajr.report.provenance import PACKAGES
from aajr.studies._study import Study
from aajr.studies.injection._protocol import PROTOCOLS, Protocol, decisive
from aajr.studies.injection._report import REPORT
from aajr.studies.injection._study import gather, stages

STUDY = Study(
    name="injection",
    presets=PROTOCOLS,
    stages=stages,
    gather=gather,
    report=REPORT,
    output="injection/{preset}",
    decisive=decisive,
    packages=(*PACKAGES, "trl", "transformers", "tokenizers", "peft", "accelerate"),
)

__all__ = ["PROTOCOLS", "STUDY", "Protocol"]
