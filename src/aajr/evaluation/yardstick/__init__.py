"""A single-agent comparison with figures that others published: InvertedPendulum and Hopper."""

from aajr.evaluation.yardstick._protocol import PROTOCOLS, Method, PresetName, Protocol
from aajr.evaluation.yardstick._report import render, write
from aajr.evaluation.yardstick._study import study

__all__ = ["PROTOCOLS", "Method", "PresetName", "Protocol", "render", "study", "write"]
