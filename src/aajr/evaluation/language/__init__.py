"""Language models that read what others write: two tasks, attacks on the words, and a study."""

from aajr.evaluation.language._protocol import PROTOCOLS, Protocol
from aajr.evaluation.language._report import render, write
from aajr.evaluation.language._study import study

__all__ = ["PROTOCOLS", "Protocol", "render", "study", "write"]
