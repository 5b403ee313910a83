"""The runs of the MuJoCo study, each with its own files, and the gathered results."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from aajr.integrations.sb3 import Normalisation, load_agent
from aajr.studies._store import Cell, Store
from aajr.studies._study import Stage, tuned
from aajr.studies.mujoco._attacks import FIVE, UNIT, played, suite_of, victim_of, worst
from aajr.studies.mujoco._protocol import PUBLISHED, Method, Protocol
from aajr.studies.mujoco._training import reference_method, train

Record = dict[str, Any]
VALIDATION = ("mad", "critic", "push", "steer")
"""First parts of the names of the attacks that are used for tuning."""

Kind = Literal["validation", "final", "thorough"]


def stages(protocol: Protocol, store: Store) -> Iterator[Stage]:
    """The stages: reference agent, tuning, final agents, and longer attacks on some agents."""
    yield "reference agent", [_reference(protocol, store)]
    yield (
        "tuning",
        [
            _examined(protocol, store, method, value, seed, "validation")
            for seed in protocol.validation_seeds
            for method in protocol.methods
            for value in method.candidates
        ],
    )
    choices = _choices(protocol, store)
    yield "final agents", _finals(protocol, store, choices, "final")
    yield "strength of the attacks", _finals(protocol, store, choices, "thorough")


def gather(protocol: Protocol, store: Store, facts: Record) -> Record:
    """Gather the raw results.

    Returns:
        Among others: ``choices`` (every candidate's validation returns, and the chosen candidate),
        ``agents`` (the return of every episode of every final agent under every attack),
        ``thorough`` (the same for the longer attacks), the protocol and the facts.
    """
    choices = _choices(protocol, store)
    reference = _statistics(_reference(protocol, store).directory)
    return {
        "preset": protocol.name,
        "unit": f"L∞ on {UNIT}",
        "standard_deviations": (reference.variance + reference.epsilon).sqrt().tolist(),
        "choices": choices,
        "agents": [cell.value() for cell in _finals(protocol, store, choices, "final")],
        "thorough": [cell.value() for cell in _finals(protocol, store, choices, "thorough")],
        "published": [dataclasses.asdict(p) for p in PUBLISHED[protocol.environment]],
        "protocol": dataclasses.asdict(protocol),
        "five": list(FIVE),
        **facts,
    }


def train_agent(
    protocol: Protocol, method: Method, value: float, seed: int, directory: Path, reference: Path
) -> None:
    """Train one agent on the statistics of the reference agent's observations."""
    train(protocol, method, value, seed, directory, _statistics(reference))


def examine(
    protocol: Protocol, store: Store, method: Method, value: float, seed: int, kind: Kind
) -> Record:
    """Attack one agent; train it first if it does not exist."""
    trained = agent_cell(protocol, store, method, value, seed)
    trained.fill()
    episodes = protocol.episodes if kind == "final" else protocol.validation_episodes
    victim = victim_of(load_agent(trained.directory), protocol, episodes, seed)
    ball, found = victim.ball(protocol.epsilon), {"none": played(victim)}
    for spec in suite_of(protocol, thorough=kind == "thorough").attacks:
        if kind != "validation" or spec.name.startswith(VALIDATION):
            found[spec.name] = played(victim, spec.name, spec.build(ball, victim))
    return {
        "method": method.name,
        "value": value,
        "seed": seed,
        "returns": {name: one.record.returns.tolist() for name, one in found.items()},
        "largest_perturbation": {
            name: one.score.largest_perturbation for name, one in found.items()
        },
    }


def choose(protocol: Protocol, store: Store, method: Method) -> Record:
    """Choose the candidate of highest worst-case return among those that still solve the task."""

    def records(value: float) -> list[Record]:
        return [
            _examined(protocol, store, method, value, seed, "validation").value()
            for seed in protocol.validation_seeds
        ]

    measures: dict[str, Callable[[Record], float]] = {
        "natural": lambda record: float(np.mean(record["returns"]["none"])),
        "worst": lambda record: worst(record["returns"], VALIDATION)[0],
    }
    best, tried = tuned(method.candidates, records, measures, ("worst",), able="natural")
    figures = [{"value": value, **means} for value, means in tried]
    return {"knob": method.knob, "value": best, "tried": figures}


def agent_cell(protocol: Protocol, store: Store, method: Method, value: float, seed: int) -> Cell:
    """The cell of one training run."""
    name = f"agents/{_label(method, value, seed)}"
    directories = (store.directory / name, _reference(protocol, store).directory)
    return store.cell(name, train_agent, protocol, method, value, seed, *directories)


def _reference(protocol: Protocol, store: Store) -> Cell:
    """The cell of the vanilla agent whose observation statistics all other agents use."""
    method, seed = reference_method(protocol), protocol.reference_seed
    directory = store.directory / "reference"
    return store.cell("reference", train, protocol, method, 1.0, seed, directory, None)


def _statistics(directory: Path) -> Normalisation:
    found = load_agent(directory).normalisation
    if found is None:
        raise ValueError(f"{directory} holds an agent without normalisation; train it again")
    return found


def _examined(
    protocol: Protocol, store: Store, method: Method, value: float, seed: int, kind: Kind
) -> Cell:
    name = f"{kind}/{_label(method, value, seed)}"
    return store.cell(name, examine, protocol, store, method, value, seed, kind)


def _choices(protocol: Protocol, store: Store) -> Record:
    return {method.name: choose(protocol, store, method) for method in protocol.methods}


def _finals(protocol: Protocol, store: Store, choices: Record, kind: Kind) -> list[Cell]:
    seeds = protocol.final_seeds[:1] if kind == "thorough" else protocol.final_seeds
    return [
        _examined(protocol, store, method, choices[method.name]["value"], seed, kind)
        for method in protocol.methods
        for seed in seeds
    ]


def _label(method: Method, value: float, seed: int) -> str:
    return f"{method.name}_{value:g}_{seed}"
