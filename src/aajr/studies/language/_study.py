"""The language study's runs, each with a file of its own, and what is gathered from them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file, save_file

from aajr.report.files import write_json
from aajr.report.provenance import PACKAGES, machine_facts, version_facts
from aajr.studies._workers import Job, Workers
from aajr.studies.language._play import Attack, play
from aajr.studies.language._protocol import ATTACKS, THOROUGH, Candidate, Method, Protocol, label
from aajr.studies.language._tasks import TASKS
from aajr.studies.language._tokens import tiny_llama
from aajr.studies.language._training import cost, train

Record = dict[str, Any]
CLEAN_SHARE = 0.95
"""A candidate counts only with this share of the best clean score of its method."""


def study(protocol: Protocol, work: Path, workers: int | None = None) -> Record:
    """Run whatever of the study is not yet done, and gather its raw results.

    Args:
        protocol: the study.
        work: directory for models and partial results.
        workers: processes; as many as cores by default.

    Returns:
        ``costs`` (FLOPs of a step), ``choices`` (every candidate and the one chosen), ``models``
        (scores of every final model under every attack), ``thorough``, the protocol, and facts
        about machine and versions.
    """
    directory = work / f"language-{protocol.name}-{protocol.fingerprint}"
    directory.mkdir(parents=True, exist_ok=True)
    costs = _costs(protocol, directory)
    with Workers(workers) as pool:
        pool.run("tuning", _jobs(protocol, directory, costs, None))
        choices = {
            task: {
                method.name: choose(protocol, directory, task, method)
                for method in protocol.methods
            }
            for task in protocol.tasks
        }
        pool.run("final models", _jobs(protocol, directory, costs, choices))
        pool.run("strength of the attacks", _jobs(protocol, directory, costs, choices, "thorough"))
    return _gathered(protocol, directory, costs, choices)


def examine(
    protocol: Protocol,
    directory: Path,
    task: str,
    method: Method,
    candidate: Candidate,
    seed: int,
    kind: str,
    costs: Record,
) -> None:
    """Train and attack one model; a finished one is left alone.

    Args:
        protocol: the study.
        directory: of its files.
        task: name.
        method: how it is trained.
        candidate: of the method.
        seed: of the run.
        kind: ``validation``, ``final`` or ``thorough``.
        costs: FLOPs of a step, by method.
    """
    place = _place(directory, task, method, candidate, seed)
    if (place / f"{kind}.json").exists():
        return
    place.mkdir(exist_ok=True)
    weights, model = place / "model.safetensors", tiny_llama(seed)
    if weights.exists():
        model.load_state_dict(load_file(weights))
    else:
        model = train(protocol, TASKS[task], method, candidate, seed, costs)
        state = {name: value.clone() for name, value in model.state_dict().items()}
        save_file(state, weights.with_suffix(".partial"))
        weights.with_suffix(".partial").rename(weights)
    attacks: dict[str, Attack | None] = {"clean": None}
    attacks |= THOROUGH if kind == "thorough" else ATTACKS
    episodes = protocol.episodes if kind == "final" else protocol.validation_episodes
    record: Record = {"task": task, "method": method.name, "candidate": candidate}
    record["seed"] = seed
    record["played"] = {
        name: dataclasses.asdict(play(model, TASKS[task], episodes, 3_000_017 + seed, attack))
        for name, attack in attacks.items()
    }
    write_json(place / f"{kind}.json", record)


def score(record: Record, names: tuple[str, ...]) -> float:
    """The task's measure at its worst over the attacks whose names begin so."""
    measure = TASKS[record["task"]].measure
    return min(
        played["scores"][measure]
        for name, played in record["played"].items()
        if name.startswith(names)
    )


def choose(protocol: Protocol, directory: Path, task: str, method: Method) -> Record:
    """The candidate of the best mean of the worst scores under words and embeddings."""
    tried: list[Record] = []
    for candidate in method.candidates:
        records = [
            _read(directory, task, method, candidate, seed, "validation")
            for seed in protocol.validation_seeds
        ]
        tried.append(
            {
                "candidate": candidate,
                "clean": float(np.mean([score(r, ("clean",)) for r in records])),
                "words": float(np.mean([score(r, ("words",)) for r in records])),
                "embeddings": float(np.mean([score(r, ("embeddings",)) for r in records])),
            }
        )
    most = max(entry["clean"] for entry in tried)
    enough = most - (1 - CLEAN_SHARE) * abs(most)  # a score may be below zero
    able = [entry for entry in tried if entry["clean"] >= enough]
    best = max(able, key=lambda entry: entry["words"] + entry["embeddings"])
    return {"candidate": best["candidate"], "tried": tried}


def _costs(protocol: Protocol, directory: Path) -> dict[str, float]:
    path = directory / "costs.json"
    if not path.exists():
        write_json(path, {method.name: cost(protocol, method) for method in protocol.methods})
    found: dict[str, float] = json.loads(path.read_text())
    return found


def _jobs(
    protocol: Protocol, directory: Path, costs: Record, choices: Record | None, kind: str = "final"
) -> list[Job]:
    """Tuning runs without choices; else one final, or thorough, run a method and seed."""
    seeds = protocol.final_seeds[:1] if kind == "thorough" else protocol.final_seeds
    found: list[Job] = []
    for seed in protocol.validation_seeds if choices is None else seeds:
        for task in protocol.tasks:
            for method in protocol.methods:
                candidates = method.candidates
                if choices is not None:
                    candidates = (choices[task][method.name]["candidate"],)
                name = "validation" if choices is None else kind
                found += [
                    (examine, (protocol, directory, task, method, candidate, seed, name, costs))
                    for candidate in candidates
                ]
    return found


def _gathered(protocol: Protocol, directory: Path, costs: Record, choices: Record) -> Record:
    def records(kind: str, seeds: tuple[int, ...]) -> list[Record]:
        return [
            _read(directory, task, method, choices[task][method.name]["candidate"], seed, kind)
            for task in protocol.tasks
            for method in protocol.methods
            for seed in seeds
        ]

    return {
        "preset": protocol.name,
        "command": f"aajr language --preset {protocol.name}",
        "costs": costs,
        "choices": choices,
        "models": records("final", protocol.final_seeds),
        "thorough": records("thorough", protocol.final_seeds[:1]),
        "protocol": dataclasses.asdict(protocol),
        "machine": machine_facts(),
        "versions": version_facts((*PACKAGES, "trl", "transformers", "peft", "accelerate")),
    }


def _place(directory: Path, task: str, method: Method, candidate: Candidate, seed: int) -> Path:
    return directory / f"{task}, {method.name}, {label(candidate)}, seed {seed}".replace(" ", "_")


def _read(
    directory: Path, task: str, method: Method, candidate: Candidate, seed: int, kind: str
) -> Record:
    path = _place(directory, task, method, candidate, seed) / f"{kind}.json"
    record: Record = json.loads(path.read_text())
    return record
