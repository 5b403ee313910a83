"""Does the constraint form hold γ, and do the safe step rules hold, where agents really train?"""

from aajr.evaluation.stability._protocol import PROTOCOLS, Cell, Protocol
from aajr.evaluation.stability._report import render, write
from aajr.evaluation.stability._study import study

__all__ = ["PROTOCOLS", "Cell", "Protocol", "render", "study", "write"]
