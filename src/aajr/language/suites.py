"""The suites of attacks on language models, and their versions.

A change of a suite's attacks or their settings changes what its figures mean and raises its
version.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from aajr._settings import check_choice
from aajr.language.attacks.base import AIMS, Attack
from aajr.language.attacks.best_of_n import BestOfN
from aajr.language.attacks.embeddings import EmbeddingAscent
from aajr.language.attacks.injections import FORMS, Injection
from aajr.language.attacks.search import TokenSearch
from aajr.language.attacks.tokens import Suffix, WordSwaps
from aajr.language.victim import Victim

Kind = Literal["injection", "words", "embeddings"]
KINDS: tuple[Kind, ...] = ("injection", "words", "embeddings")


@dataclass(frozen=True)
class Entry:
    """One attack of a suite.

    Attributes:
        name: name of the attack in results.
        kind: ``injection`` (fixed or random texts), ``words`` (a search over tokens) or
            ``embeddings`` (what no text can reach; a bound on searches over tokens).
        attack: the attack.
    """

    name: str
    kind: Kind
    attack: Attack

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, KINDS)


@dataclass(frozen=True)
class Suite:
    """Attacks on a language model that are run together.

    Attributes:
        name: name of the suite.
        version: version, raised whenever the meaning of the figures changes.
        entries: the attacks, in the order of the tables.

    Raises:
        ValueError: no attacks, or two of one name.
    """

    name: str
    version: int
    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        names = [one.name for one in self.entries]
        if not names or len(set(names)) < len(names) or "none" in names:
            raise ValueError(f"entries={names} is not allowed; give each a name of its own")

    def facts(self) -> dict[str, Any]:
        """Name, version and settings of the attacks, as JSON values."""
        entries = [{"name": e.name, "kind": e.kind, **_settings(e.attack)} for e in self.entries]
        return {"name": self.name, "version": self.version, "attacks": entries}


def suite_of(name: str, draft: Victim | None = None) -> Suite:
    """A suite by its name.

    Args:
        name: ``quick``, ``standard`` or ``thorough``.
        draft: a smaller model with the same tokens, for the suffix search.

    Raises:
        ValueError: another name.
    """
    check_choice("suite", name, tuple(SUITES))
    return SUITES[name](draft)


def _quick(draft: Victim | None) -> Suite:
    forms = ("naive", "ignore", "combined", "important", "fake_system", "fake_answer")
    entries = (
        *map(_injection, forms),
        Entry("best_of_8", "injection", BestOfN(8)),
        _words("wrong", TokenSearch(steps=3, width=32, budget=2)),
        _ascent(0.1, "goal", steps=5, most=10, restarts=1),
        _ascent(0.1, "wrong", steps=5, most=10, restarts=1),
    )
    return Suite("quick", 1, entries)


def _standard(draft: Victim | None) -> Suite:
    entries = (
        *map(_injection, FORMS),
        Entry("best_of_32", "injection", BestOfN(32)),
        *(_words(aim, TokenSearch(steps=8, width=64, budget=4)) for aim in AIMS),
        Entry("suffix", "words", Suffix(20, search=TokenSearch(100, 64, buffer=4, draft=draft))),
        *(_ascent(r, aim, steps=10, most=80) for r in (0.03, 0.1, 0.3) for aim in AIMS),
    )
    return Suite("standard", 1, entries)


def _thorough(draft: Victim | None) -> Suite:
    search = TokenSearch(500, 512, 256, swaps=2, buffer=16, draft=draft)
    entries = (
        *map(_injection, FORMS),
        Entry("best_of_256", "injection", BestOfN(256)),
        *(_words(aim, TokenSearch(steps=30, width=256, budget=8)) for aim in AIMS),
        Entry("suffix", "words", Suffix(20, search=search)),
        Entry("suffix_unreadable", "words", Suffix(20, readable=False, search=search)),
        *(
            _ascent(r, aim, steps=20, most=640, restarts=4)
            for r in (0.01, 0.03, 0.1, 0.3, 1.0)
            for aim in AIMS
        ),
    )
    return Suite("thorough", 1, entries)


SUITES: dict[str, Callable[[Victim | None], Suite]] = {
    "quick": _quick,
    "standard": _standard,
    "thorough": _thorough,
}
"""Functions from a draft model to a suite."""


def _injection(form: str) -> Entry:
    return Entry(f"injection_{form}", "injection", Injection(form))


def _words(aim: Any, search: TokenSearch) -> Entry:
    return Entry(f"words_{aim}", "words", WordSwaps(aim, search))


def _ascent(radius: float, aim: Any, **settings: Any) -> Entry:
    return Entry(
        f"embeddings_{aim}_{radius:g}", "embeddings", EmbeddingAscent(radius, aim, **settings)
    )


def _settings(value: Any) -> dict[str, Any]:
    """The settings of an attack by name; of a model its name."""
    if not dataclasses.is_dataclass(value):
        return {"attack": getattr(value, "__qualname__", type(value).__qualname__)}
    found: dict[str, Any] = {}
    for one in dataclasses.fields(value):
        part = getattr(value, one.name)
        if isinstance(part, Victim):
            part = str(getattr(part.model.config, "name_or_path", "")) or type(part.model).__name__
        found[one.name] = _settings(part) if dataclasses.is_dataclass(part) else part
    return found
