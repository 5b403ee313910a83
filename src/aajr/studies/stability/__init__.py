"""Does the constraint form hold γ, and do the safe step rules hold, where agents really train?"""

from aajr.studies.stability._protocol import PROTOCOLS, Cell, Protocol
from aajr.studies.stability._report import render, write
from aajr.studies.stability._study import study

__all__ = ["PROTOCOLS", "Cell", "Protocol", "render", "study", "write"]
