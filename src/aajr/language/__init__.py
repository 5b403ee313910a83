"""Attacks on what a language model reads from others: ``pip install 'aajr[language]'``.

The other party may write a tool's output, a document or a message. :func:`attack` adds orders,
swaps words and moves embeddings there, and reports how often the model obeys and how often it still
does what the user asked for. :func:`sensitivity` measures without an attack how far the model's
answer follows each part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aajr._lazy import lazy_names

if TYPE_CHECKING:
    from aajr.language.attacks.base import Attempt, Objective
    from aajr.language.attacks.best_of_n import BestOfN
    from aajr.language.attacks.embeddings import EmbeddingAscent
    from aajr.language.attacks.injections import FORMS, PLAIN, Injection
    from aajr.language.attacks.search import TokenSearch
    from aajr.language.attacks.tokens import Suffix, WordSwaps
    from aajr.language.cases import Case, Judge, Span, read_cases
    from aajr.language.chats import Chat
    from aajr.language.examining import attack
    from aajr.language.measuring import Part, Sensitivity, sensitivity
    from aajr.language.report import LanguageReport, Transcript, Trial
    from aajr.language.suites import Entry, Suite
    from aajr.language.victim import Victim

__all__ = [
    "FORMS",
    "PLAIN",
    "Attempt",
    "BestOfN",
    "Case",
    "Chat",
    "EmbeddingAscent",
    "Entry",
    "Injection",
    "Judge",
    "LanguageReport",
    "Objective",
    "Part",
    "Sensitivity",
    "Span",
    "Suffix",
    "Suite",
    "TokenSearch",
    "Transcript",
    "Trial",
    "Victim",
    "WordSwaps",
    "attack",
    "read_cases",
    "sensitivity",
]

if not TYPE_CHECKING:  # otherwise every attribute would seem to exist for the type checker
    __getattr__, __dir__ = lazy_names(__name__)
