"""What the penalty costs on a pretrained model, SmolLM2-135M, and how exact it is there."""

from aajr.report.provenance import PACKAGES
from aajr.studies._study import Study
from aajr.studies.language_cost._report import REPORT
from aajr.studies.language_cost._study import PRESETS, decisive, gather, stages

STUDY = Study(
    name="language-cost",
    presets=PRESETS,
    stages=stages,
    gather=gather,
    report=REPORT,
    output="language-cost/{preset}",
    decisive=decisive,
    packages=(*PACKAGES, "trl", "transformers", "peft", "accelerate"),
    timed=True,
)

__all__ = ["PRESETS", "STUDY"]
