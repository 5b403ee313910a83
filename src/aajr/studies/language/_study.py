"""The language study's runs, each with its own file, and the gathered results."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

from safetensors.torch import load_file, save_file

from aajr._seeds import derive
from aajr.studies._store import Cell, Store
from aajr.studies._study import Stage, tuned
from aajr.studies.language._play import Attack, play
from aajr.studies.language._protocol import ATTACKS, THOROUGH, Candidate, Method, Protocol, Run
from aajr.studies.language._tasks import TASKS
from aajr.studies.language._tokens import tiny_llama
from aajr.studies.language._training import cost, train

Record = dict[str, Any]
Kind = Literal["validation", "final", "thorough"]
_WEIGHTS = "model.safetensors"


def stages(protocol: Protocol, store: Store) -> Iterator[Stage]:
    """The stages: costs, tuning, final models, and longer attacks on some models."""
    yield "cost of a step", [_costs(protocol, store)]
    yield (
        "tuning",
        [
            _examined(Run(protocol, task, method, candidate, seed), store, "validation")
            for seed in protocol.validation_seeds
            for task in protocol.tasks
            for method in protocol.methods
            for candidate in method.candidates
        ],
    )
    choices = _choices(protocol, store)
    yield "final models", _finals(protocol, store, choices, "final")
    yield "strength of the attacks", _finals(protocol, store, choices, "thorough")


def gather(protocol: Protocol, store: Store, facts: Record) -> Record:
    """Gather the raw results.

    Returns:
        ``costs`` (FLOPs of a step), ``choices`` (every candidate's scores, and the chosen
        candidate), ``models`` (scores of every final model under every attack), ``thorough`` (the
        same for the longer attacks), the protocol and the facts.
    """
    choices = _choices(protocol, store)
    return {
        "preset": protocol.name,
        "costs": _costs(protocol, store).value(),
        "choices": choices,
        "models": [cell.value() for cell in _finals(protocol, store, choices, "final")],
        "thorough": [cell.value() for cell in _finals(protocol, store, choices, "thorough")],
        "protocol": dataclasses.asdict(protocol),
        **facts,
    }


def step_costs(protocol: Protocol) -> dict[str, float]:
    """FLOPs of a step of every method."""
    return {method.name: cost(protocol, method) for method in protocol.methods}


def train_model(run: Run, store: Store, directory: Path) -> None:
    """Train one model and keep its weights."""
    model = train(run, _costs(run.protocol, store).value())
    state = {name: value.clone() for name, value in model.state_dict().items()}
    save_file(state, directory / _WEIGHTS)


def examine(run: Run, store: Store, kind: Kind) -> Record:
    """Attack one model; train it first if it does not exist."""
    trained, protocol, task = _model(run, store), run.protocol, TASKS[run.task]
    trained.fill()
    model = tiny_llama(run.seed)
    model.load_state_dict(load_file(trained.directory / _WEIGHTS))
    attacks: dict[str, Attack | None] = {"clean": None}
    attacks |= THOROUGH if kind == "thorough" else ATTACKS
    episodes = protocol.episodes if kind == "final" else protocol.validation_episodes
    played = {
        name: dataclasses.asdict(
            play(model, task, episodes, derive(run.seed, "evaluation"), attack)
        )
        for name, attack in attacks.items()
    }
    return {
        "task": run.task,
        "method": run.method.name,
        "candidate": run.candidate,
        "seed": run.seed,
        "played": played,
    }


def score(record: Record, names: tuple[str, ...]) -> float:
    """Lowest measure of the task over the attacks whose names start with one of ``names``."""
    measure = TASKS[record["task"]].measure
    return min(
        played["scores"][measure]
        for name, played in record["played"].items()
        if name.startswith(names)
    )


def choose(protocol: Protocol, store: Store, task: str, method: Method) -> Record:
    """Choose the candidate of highest sum of the worst scores under words and embeddings."""

    def records(candidate: Candidate) -> list[Record]:
        return [
            _examined(Run(protocol, task, method, candidate, seed), store, "validation").value()
            for seed in protocol.validation_seeds
        ]

    measures = {name: partial(score, names=(name,)) for name in ("clean", "words", "embeddings")}
    aim = ("words", "embeddings")
    best, tried = tuned(method.candidates, records, measures, aim, able="clean")
    return {"candidate": best, "tried": [{"candidate": c, **means} for c, means in tried]}


def _choices(protocol: Protocol, store: Store) -> Record:
    return {
        task: {method.name: choose(protocol, store, task, method) for method in protocol.methods}
        for task in protocol.tasks
    }


def _finals(protocol: Protocol, store: Store, choices: Record, kind: Kind) -> list[Cell]:
    seeds = protocol.final_seeds[:1] if kind == "thorough" else protocol.final_seeds
    runs = [
        Run(protocol, task, method, choices[task][method.name]["candidate"], seed)
        for task in protocol.tasks
        for method in protocol.methods
        for seed in seeds
    ]
    return [_examined(run, store, kind) for run in runs]


def _costs(protocol: Protocol, store: Store) -> Cell:
    return store.cell("costs", step_costs, protocol)


def _model(run: Run, store: Store) -> Cell:
    name = f"models/{run.name}"
    return store.cell(name, train_model, run, store, store.directory / name)


def _examined(run: Run, store: Store, kind: Kind) -> Cell:
    return store.cell(f"{kind}/{run.name}", examine, run, store, kind)
