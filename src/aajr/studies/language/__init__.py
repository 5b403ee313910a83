"""Language models that read what others write: two tasks, attacks on the words, and a study."""

from aajr.studies.language._attacks import EmbeddingAscent, WordSearch
from aajr.studies.language._play import Played, play
from aajr.studies.language._protocol import PROTOCOLS, Protocol
from aajr.studies.language._report import render, write
from aajr.studies.language._rollouts import openings, returned, rollouts
from aajr.studies.language._study import study
from aajr.studies.language._tasks import Negotiation, Task, Tools
from aajr.studies.language._tokens import attacker_mask, tiny_llama, tokenizer

__all__ = [
    "PROTOCOLS",
    "EmbeddingAscent",
    "Negotiation",
    "Played",
    "Protocol",
    "Task",
    "Tools",
    "WordSearch",
    "attacker_mask",
    "openings",
    "play",
    "render",
    "returned",
    "rollouts",
    "study",
    "tiny_llama",
    "tokenizer",
    "write",
]
