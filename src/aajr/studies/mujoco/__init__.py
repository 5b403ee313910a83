"""A single-agent comparison with figures that others published: InvertedPendulum and Hopper."""

from aajr.studies.mujoco._protocol import PROTOCOLS, Method, PresetName, Protocol
from aajr.studies.mujoco._report import render, write
from aajr.studies.mujoco._study import study

__all__ = ["PROTOCOLS", "Method", "PresetName", "Protocol", "render", "study", "write"]
