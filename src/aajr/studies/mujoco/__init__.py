"""A single-agent comparison with published results: InvertedPendulum and Hopper."""

from aajr.report.provenance import PACKAGES
from aajr.studies._study import Study
from aajr.studies.mujoco._protocol import PROTOCOLS, Method, PresetName, Protocol
from aajr.studies.mujoco._report import REPORT
from aajr.studies.mujoco._study import gather, stages

STUDY = Study(
    name="mujoco",
    presets=PROTOCOLS,
    stages=stages,
    gather=gather,
    report=REPORT,
    output="yardstick/{preset}",
    packages=(*PACKAGES, "stable-baselines3", "gymnasium", "mujoco"),
)

__all__ = ["PROTOCOLS", "STUDY", "Method", "PresetName", "Protocol"]
