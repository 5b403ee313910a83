"""The study's methods, attacks and presets."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from aajr.language import BestOfN, EmbeddingAscent, Entry, Injection, Suite, TokenSearch, WordSwaps
from aajr.studies.injection._cases import HELD_OUT, TRAINING
from aajr.studies.injection._models import ModelName

Candidate = dict[str, float]
Notes = Literal["own", "augmented", "injected"]

GROUPS = ("training", "held_out", "words", "embeddings")
"""Groups of attacks: orders in the forms that methods may train on and in others, searches over
words, searches over embeddings."""

TEXT = GROUPS[:3]
"""Groups of attacks by text."""


@dataclass(frozen=True)
class Method:
    """One way to train, with its tuned hyperparameters.

    Attributes:
        name: name in runs and results.
        title: name in tables.
        candidates: hyperparameters tried on the validation seeds, equally many for every method:
            ``learning rate`` (a factor), ``noise`` (NEFTune's α), ``share`` (of rows with changed
            notes), ``beta`` (of DPO); all others are fields of
            :class:`aajr.integrations.trl.Robustness`.
        settings: further fields of ``Robustness``; None to train without it.
        notes: notes of the training rows.
        share: share of the rows whose notes are changed, unless a candidate says it.
        preferences: whether DPO on injected pairs follows, for half of the compute.
    """

    name: str
    title: str
    candidates: tuple[Candidate, ...]
    settings: dict[str, Any] | None = None
    notes: Notes = "own"
    share: float = 0.5
    preferences: bool = False


def label(candidate: Candidate) -> str:
    """The name of a candidate in tables and files."""
    return ", ".join(f"{name} {value:g}" for name, value in candidate.items())


def _each(name: str, *values: float) -> tuple[Candidate, ...]:
    return tuple({name: value} for value in values)


_SHARES = _each("share", 0.125, 0.25, 0.5, 1.0)
_WEIGHTS = _each("weight", 0.1, 1.0, 10.0, 100.0)
_BALLS = tuple(
    {"radius": radius, "weight": weight}
    for radius, weight in ((0.1, 1.0), (0.3, 1.0), (1.0, 0.3), (1.0, 1.0))
)

METHODS = (
    Method("host", "host", _each("learning rate", 0.3, 0.6, 1.0, 2.0)),
    Method("neftune", "NEFTune", _each("noise", 1.0, 5.0, 20.0, 80.0)),
    Method("augmented", "augmentation", _SHARES, notes="augmented"),
    Method("struq", "StruQ", _SHARES, notes="injected"),
    Method("secalign", "SecAlign", _each("beta", 0.03, 0.1, 0.3, 1.0), preferences=True),
    Method("r3f", "R3F", _BALLS, {"method": "r3f"}),
    Method("smart", "SMART", _BALLS, {"method": "smart"}),
    Method("adversarial", "adversarial, 1 step", _BALLS, {"method": "adversarial"}),
    Method("multistep", "adversarial, 3 steps", _BALLS, {"method": "adversarial", "steps": 3}),
    Method("continuous", "adversarial, 10 steps", _BALLS, {"method": "adversarial", "steps": 10}),
    Method("latent", "adversarial, latent", _BALLS, {"method": "adversarial", "layer": 1}),
    Method("random_direction", "random direction", _WEIGHTS, {"method": "random_direction"}),
    Method("aajr", "AAJR", _WEIGHTS, {"method": "aajr"}),
    Method("aajr_augmented", "AAJR and augmentation", _WEIGHTS, {"method": "aajr"}, "augmented"),
    Method("aajr_struq", "AAJR and StruQ", _WEIGHTS, {"method": "aajr"}, "injected"),
)
"""Radii are shares of ‖e‖. Continuous adversarial training is ``continuous``."""

ALIGNED = ("aajr", "aajr_augmented", "aajr_struq")
"""The methods with AAJR; the best of them on the validation seeds meets all others."""


@dataclass(frozen=True)
class Effort:
    """The searches of the evaluation.

    Attributes:
        attempts: n of best of n.
        words: largest number of words that differ.
        word_steps: steps of the search over words.
        width: texts that are tried in a step.
        radii: radii of the embedding attacks, as shares of ‖e‖.
        steps: steps of the first embedding search.
        most: most steps of an embedding search.
        restarts: random starts of an embedding search.
    """

    attempts: int = 8
    words: int = 4
    word_steps: int = 6
    width: int = 96
    radii: tuple[float, ...] = (0.1, 0.3)
    steps: int = 10
    most: int = 40
    restarts: int = 2


TUNED_ON = ("training", "words")
"""Groups of attacks that choose a candidate; the other forms of orders stay unseen."""


def suite(effort: Effort, groups: tuple[str, ...] = GROUPS) -> Suite:
    """All attacks of the study, or those of some groups."""
    search = TokenSearch(effort.word_steps, effort.width, budget=effort.words)
    entries = [Entry(f"training_{form}", "injection", Injection(form)) for form in TRAINING]
    entries += [Entry(f"held_out_{form}", "injection", Injection(form)) for form in HELD_OUT]
    entries += [Entry("held_out_best_of_n", "injection", BestOfN(effort.attempts))]
    for aim in ("goal", "wrong"):
        entries.append(Entry(f"words_{aim}", "words", WordSwaps(aim, search)))
        for radius in effort.radii:
            ascent = EmbeddingAscent(radius, aim, effort.steps, effort.most, effort.restarts)
            entries.append(Entry(f"embeddings_{aim}_{radius:g}", "embeddings", ascent))
    return Suite("injection", 1, tuple(e for e in entries if e.name.startswith(groups)))


@dataclass(frozen=True)
class Protocol:
    """The study's fixed choices.

    Attributes:
        name: name of the preset.
        model: ``tiny``, trained from scratch, or ``smollm2``, with LoRA adapters.
        steps: optimiser steps of fine-tuning without a penalty. A method with more expensive steps
            gets fewer, such that the total FLOPs are equal.
        batch: rows of a step.
        learning_rate: initial learning rate; it falls linearly to 0.
        preference_rate: the learning rate of DPO, which starts from the fine-tuned model.
        examples: number of training rows.
        fraction: share of the rows that are penalised.
        interval: every ``interval``-th step is penalised.
        validation_seeds: seeds on which methods are tuned.
        final_seeds: seeds that are reported; nothing is chosen on them.
        validation_cases: number of cases that a candidate is attacked on.
        cases: number of cases that a final model is attacked on.
        length: most tokens of an answer.
        effort: the searches.
        thorough: longer searches for one model of every method.
        budgets: shares of the compute at which some methods are trained too.
        methods: methods that are compared.
    """

    name: str
    model: ModelName = "tiny"
    steps: int = 500
    batch: int = 32
    learning_rate: float = 3e-3
    preference_rate: float = 3e-4
    examples: int = 8000
    fraction: float = 0.25
    interval: int = 2
    validation_seeds: tuple[int, ...] = (100, 101)
    final_seeds: tuple[int, ...] = tuple(range(10))
    validation_cases: int = 20
    cases: int = 30
    length: int = 6
    effort: Effort = field(default_factory=Effort)
    thorough: Effort = field(
        default_factory=lambda: Effort(32, 4, 20, 400, steps=40, most=320, restarts=4)
    )
    budgets: tuple[float, ...] = (0.25, 0.5)
    methods: tuple[Method, ...] = METHODS


@dataclass(frozen=True)
class Run:
    """One training run: a candidate of a method with one seed and a share of the compute."""

    protocol: Protocol
    method: Method
    candidate: Candidate
    seed: int
    budget: float = 1.0

    @property
    def name(self) -> str:
        """Name of the run's files."""
        words = f"{self.method.name}, {label(self.candidate)}, seed {self.seed}"
        if self.budget != 1:
            words += f", budget {self.budget:g}"
        return words.replace(" ", "_")


def decisive(protocol: Protocol) -> Any:
    """Everything that determines the results: the protocol and the attacks."""
    return [dataclasses.asdict(protocol), suite(protocol.effort).facts()]


_FEW = ("host", "struq", "secalign", "aajr")

PROTOCOLS: dict[str, Protocol] = {
    "smoke": Protocol(
        "smoke",
        steps=6,
        batch=8,
        examples=64,
        validation_seeds=(100,),
        final_seeds=(0, 1),
        validation_cases=2,
        cases=2,
        effort=Effort(2, 2, 1, 16, (0.1,), 2, 2, 1),
        thorough=Effort(2, 2, 2, 16, (0.1,), 2, 4, 1),
        budgets=(0.5,),
        methods=tuple(
            dataclasses.replace(method, candidates=method.candidates[:1])
            for method in METHODS
            if method.name in _FEW
        ),
    ),
    "standard": Protocol("standard"),
    "smollm2": Protocol(
        "smollm2",
        model="smollm2",
        steps=60,
        batch=8,
        learning_rate=1e-3,
        preference_rate=1e-4,
        examples=1000,
        validation_seeds=(100, 101),
        final_seeds=(0, 1, 2),
        validation_cases=20,
        cases=200,
        effort=Effort(8, 2, 2, 32, (0.1,), 5, 10, 1),
        thorough=Effort(32, 4, 8, 64, (0.1,), 20, 80, 2),
        budgets=(),
        methods=tuple(
            dataclasses.replace(method, candidates=method.candidates[1:3])
            for method in METHODS
            if method.name not in ("neftune", "r3f", "latent")
        ),
    ),
}
