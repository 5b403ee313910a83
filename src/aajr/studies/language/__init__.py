"""Language models that read what others write: two tasks, attacks on the words, and a study."""

from aajr.report.provenance import PACKAGES
from aajr.studies._study import Study
from aajr.studies.language._attacks import EmbeddingAscent, WordSearch
from aajr.studies.language._play import Played, play
from aajr.studies.language._protocol import PROTOCOLS, Protocol, decisive
from aajr.studies.language._report import REPORT
from aajr.studies.language._rollouts import openings, returned, rollouts
from aajr.studies.language._study import gather, stages
from aajr.studies.language._tasks import Negotiation, Task, Tools
from aajr.studies.language._tokens import attacker_mask, tiny_llama, tokenizer

STUDY = Study(
    name="language",
    presets=PROTOCOLS,
    stages=stages,
    gather=gather,
    report=REPORT,
    output="language/{preset}",
    decisive=decisive,
    packages=(*PACKAGES, "trl", "transformers", "peft", "accelerate"),
)

__all__ = [
    "PROTOCOLS",
    "STUDY",
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
    "returned",
    "rollouts",
    "tiny_llama",
    "tokenizer",
]
