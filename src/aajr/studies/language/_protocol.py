"""The language study's methods, attacks and presets."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from aajr.studies.language._attacks import EmbeddingAscent, WordSearch
from aajr.studies.language._play import Attack

PresetName = Literal["smoke", "standard"]
Candidate = dict[str, float]


@dataclass(frozen=True)
class Method:
    """One way to train, with its tuned hyperparameters.

    Attributes:
        name: name in runs and results.
        title: name in tables.
        candidates: hyperparameters tried on the validation seed, equally many for every method.
            ``learning rate`` is a factor, ``noise`` is NEFTune's α; all others are fields of
            :class:`aajr.integrations.trl.Robustness`.
        settings: further fields of ``Robustness``; None to train without it.
    """

    name: str
    title: str
    candidates: tuple[Candidate, ...]
    settings: dict[str, Any] | None = None


def label(candidate: Candidate) -> str:
    """The name of a candidate in tables and files."""
    return ", ".join(f"{name} {value:g}" for name, value in candidate.items())


def _each(name: str, *values: float) -> tuple[Candidate, ...]:
    return tuple({name: value} for value in values)


BALLS = tuple(
    {"radius": radius, "weight": weight}
    for radius, weight in ((0.3, 0.3), (0.3, 1.0), (1.0, 0.3), (1.0, 1.0), (1.0, 3.0))
)
WEIGHTS = _each("weight", 0.1, 1.0, 10.0, 100.0, 1000.0)
METHODS = (
    Method("host", "host", _each("learning rate", 0.25, 0.5, 1.0, 2.0, 4.0)),
    Method("neftune", "NEFTune", _each("noise", 1.0, 3.0, 10.0, 30.0, 100.0)),
    Method("r3f", "R3F", BALLS, {"method": "r3f"}),
    Method("smart", "SMART", BALLS, {"method": "smart"}),
    Method("adversarial", "adversarial, 1 step", BALLS, {"method": "adversarial"}),
    Method("multistep", "adversarial, 3 steps", BALLS, {"method": "adversarial", "steps": 3}),
    Method("latent", "adversarial, latent", BALLS, {"method": "adversarial", "layer": 1}),
    Method("random_direction", "random direction", WEIGHTS, {"method": "random_direction"}),
    Method("aajr", "AAJR", WEIGHTS, {"method": "aajr"}),
)
"""Radii are shares of ‖e‖: 0.3 is the largest radius of the study's embedding attacks, and 1 is
the norm of the embeddings themselves."""

ATTACKS: dict[str, Attack] = {
    "words": WordSearch(beam=2),
    "words, targeted": WordSearch("targeted", beam=2),
    "embeddings 0.1": EmbeddingAscent(0.1, steps=30, restarts=3),
    "embeddings 0.3": EmbeddingAscent(0.3, steps=30, restarts=3),
    "embeddings 0.3, targeted": EmbeddingAscent(0.3, "targeted", steps=30, restarts=3),
}
THOROUGH: dict[str, Attack] = {
    "words": WordSearch(beam=8),
    "words, targeted": WordSearch("targeted", beam=8),
    "embeddings 0.1": EmbeddingAscent(0.1, steps=100, restarts=5),
    "embeddings 0.3": EmbeddingAscent(0.3, steps=100, restarts=5),
    "embeddings 0.3, targeted": EmbeddingAscent(0.3, "targeted", steps=100, restarts=5),
}


@dataclass(frozen=True)
class Protocol:
    """The study's fixed choices.

    Attributes:
        name: name of the preset.
        tasks: names of the tasks.
        steps: optimiser steps of supervised fine-tuning without a penalty. A method with more
            expensive steps gets fewer steps, such that the total FLOPs are equal.
        group_steps: optimiser steps of the GRPO that follows, in the same way.
        batch: prompts per step of fine-tuning, completions per step of GRPO.
        generations: completions of GRPO per prompt.
        learning_rate: initial learning rate of fine-tuning; it falls linearly to 0.
        group_learning_rate: initial learning rate of GRPO.
        examples: number of decisions in the training set.
        fraction: share of the rows that are penalised.
        interval: every ``interval``-th step is penalised.
        validation_seeds: seeds on which methods are tuned.
        final_seeds: seeds that are reported; nothing is chosen on them.
        episodes: number of episodes of each model and attack on the final seeds.
        validation_episodes: the same number on the validation seeds.
        methods: methods that are compared.
    """

    name: PresetName
    tasks: tuple[str, ...] = ("negotiation", "tools")
    steps: int = 400
    group_steps: int = 40
    batch: int = 64
    generations: int = 8
    learning_rate: float = 3e-3
    group_learning_rate: float = 1e-4
    examples: int = 8000
    fraction: float = 0.25
    interval: int = 2
    validation_seeds: tuple[int, ...] = (100,)
    final_seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    episodes: int = 100
    validation_episodes: int = 50
    methods: tuple[Method, ...] = METHODS


@dataclass(frozen=True)
class Run:
    """One training run: a candidate of a method on a task, with one seed."""

    protocol: Protocol
    task: str
    method: Method
    candidate: Candidate
    seed: int

    @property
    def name(self) -> str:
        """Name of the run's files."""
        words = f"{self.task}, {self.method.name}, {label(self.candidate)}, seed {self.seed}"
        return words.replace(" ", "_")


def decisive(protocol: Protocol) -> Any:
    """Everything that determines the results: the protocol and the attacks."""
    attacks = [{k: repr(v) for k, v in found.items()} for found in (ATTACKS, THOROUGH)]
    return [dataclasses.asdict(protocol), attacks]


PROTOCOLS: dict[PresetName, Protocol] = {
    "smoke": Protocol(
        "smoke",
        tasks=("negotiation",),
        steps=6,
        group_steps=2,
        batch=8,
        generations=4,
        examples=64,
        final_seeds=(0, 1),
        episodes=8,
        validation_episodes=4,
        methods=tuple(
            dataclasses.replace(method, candidates=method.candidates[:1]) for method in METHODS
        ),
    ),
    "standard": Protocol("standard"),
}
