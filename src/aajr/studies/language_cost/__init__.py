"""What the penalty costs on a pretrained model, SmolLM2-135M, and how exact it is there."""

from aajr.studies.language_cost._report import render, write
from aajr.studies.language_cost._study import PRESETS, study

__all__ = ["PRESETS", "render", "study", "write"]
