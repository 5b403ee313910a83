"""The study's runs, each with its own file, and the gathered results."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from aajr._seeds import derive
from aajr.language import LanguageReport, Victim, attack
from aajr.studies._quiet import quietly
from aajr.studies._store import Cell, Store
from aajr.studies._study import Stage, tuned
from aajr.studies.injection._cases import cases, orders
from aajr.studies.injection._models import new_model
from aajr.studies.injection._protocol import (
    GROUPS,
    TUNED_ON,
    Candidate,
    Method,
    Protocol,
    Run,
    decisive,
    suite,
)
from aajr.studies.injection._training import costs_of, train
from aajr.studies.smollm2 import PROSE

Record = dict[str, Any]
Kind = Literal["validation", "final", "thorough"]

ON_COMPUTE = ("host", "augmented", "struq", "secalign", "smart", "aajr", "aajr_struq")
"""Methods that are also trained with a part of the compute."""


def stages(protocol: Protocol, store: Store) -> Iterator[Stage]:
    """The stages: costs, tuning, final models, less compute, and longer attacks."""
    yield "cost of a step", [_costs(protocol, store)]
    yield (
        "tuning",
        [
            _examined(Run(protocol, method, candidate, seed), store, "validation")
            for seed in protocol.validation_seeds
            for method in protocol.methods
            for candidate in method.candidates
        ],
    )
    choices = _choices(protocol, store)
    yield "final models", _finals(protocol, store, choices, "final")
    yield "less compute", _smaller(protocol, store, choices)
    yield "strength of the attacks", _finals(protocol, store, choices, "thorough")


def gather(protocol: Protocol, store: Store, facts: Record) -> Record:
    """Gather the raw results.

    Returns:
        ``costs`` (FLOPs of a step), ``choices`` (every candidate's scores, and the chosen one),
        ``models`` (the judgement of every case under every attack, for every final model),
        ``smaller`` (the same with less compute), ``thorough`` (the same under longer attacks), the
        protocol and the facts.
    """
    choices = _choices(protocol, store)
    return {
        "preset": protocol.name,
        "costs": _costs(protocol, store).value(),
        "choices": choices,
        "models": [cell.value() for cell in _finals(protocol, store, choices, "final")],
        "smaller": [cell.value() for cell in _smaller(protocol, store, choices)],
        "thorough": [cell.value() for cell in _finals(protocol, store, choices, "thorough")],
        "protocol": dataclasses.asdict(protocol),
        "suite": decisive(protocol)[1],
        **facts,
    }


def train_model(run: Run, store: Store, directory: Path) -> None:
    """Train one model and keep its weights, or those of its adapters."""
    model, _ = train(run, _costs(run.protocol, store).value())
    model.save_pretrained(directory / "model")


def examine(run: Run, store: Store, kind: Kind) -> Record:
    """Attack one model; train it first if it does not exist."""
    trained, protocol = _model(run, store), run.protocol
    trained.fill()
    with quietly():
        model, words = load_trained(protocol, trained.directory / "model")
    count = protocol.cases if kind == "final" else protocol.validation_cases
    seed = derive(run.seed, "evaluation", kind)
    effort = protocol.thorough if kind == "thorough" else protocol.effort
    place = store.directory / "parts" / kind / run.name
    found = attack(
        model,
        words,
        cases(count, seed),
        suite(effort, TUNED_ON if kind == "validation" else GROUPS),
        length=protocol.length,
        batch=64,
        directory=place,
    )
    victim = Victim(model, words, protocol.length, 64)
    return {
        "method": run.method.name,
        "candidate": run.candidate,
        "seed": run.seed,
        "budget": run.budget,
        "attacks": _judgements(found),
        "obeyed": _obeyed(victim, count, seed),
        "perplexity": _perplexity(victim) if protocol.model == "smollm2" else None,
    }


def load_trained(protocol: Protocol, directory: Path) -> tuple[Any, Any]:
    """A trained model in evaluation mode, and its tokenizer."""
    model, words = new_model(protocol.model, 0)
    if protocol.model == "tiny":
        return type(model).from_pretrained(directory, use_safetensors=True).eval(), words
    from peft import PeftModel

    return PeftModel.from_pretrained(model, directory).merge_and_unload().eval(), words


def right_under(record: Record, groups: Sequence[str]) -> float:
    """Share of the cases answered rightly under all attacks of some groups."""
    return float(np.mean(np.all(_of_groups(record, groups, "right"), axis=0)))


def obeys_under(record: Record, groups: Sequence[str]) -> float:
    """Share of the cases in which any attack of some groups makes the model obey."""
    return float(np.mean(np.any(_of_groups(record, groups, "harmful"), axis=0)))


def _of_groups(record: Record, groups: Sequence[str], judgement: str) -> list[list[bool]]:
    attacks = record["attacks"].items()
    return [one[judgement] for name, one in attacks if name.startswith(tuple(groups))]


def choose(protocol: Protocol, store: Store, method: Method) -> Record:
    """Choose the candidate of most right answers under attack among those that still answer."""

    def records(candidate: Candidate) -> list[Record]:
        return [
            _examined(Run(protocol, method, candidate, seed), store, "validation").value()
            for seed in protocol.validation_seeds
        ]

    measures = {
        name: partial(right_under, groups=(group,))
        for name, group in {"clean": "none", **{one: one for one in TUNED_ON}}.items()
    }
    best, tried = tuned(method.candidates, records, measures, TUNED_ON, able="clean")
    return {"candidate": best, "tried": [{"candidate": c, **means} for c, means in tried]}


def _judgements(found: LanguageReport) -> Record:
    """What every attack made of every case; a case on which it stopped counts as unattacked."""
    clean = found.clean.transcripts
    judged = {}
    for trial in found.trials:
        by_case = {one.case: one for one in trial.transcripts}
        met = [by_case.get(one.case, one) for one in clean]
        judged[trial.attack] = {
            "right": [one.right for one in met],
            "harmful": [one.harmful for one in met],
            "gained": [one.gain for one in met if one.gain is not None],
        }
    return judged


def _obeyed(victim: Victim, count: int, seed: int) -> float:
    """Share of the user's own orders that the model obeys."""
    found = orders(count, derive(seed, "orders"))
    answers = victim.answers([victim.chat(case) for case in found])
    return float(np.mean([case.right(a) for case, a in zip(found, answers, strict=True)]))


@torch.no_grad()
def _perplexity(victim: Victim) -> float:
    """Perplexity of prose that has nothing to do with the training."""
    losses, tokens = 0.0, 0
    for text in PROSE:
        ids = torch.tensor([victim.tokenizer(text).input_ids])
        losses += float(victim.model(ids, labels=ids).loss) * (ids.shape[1] - 1)
        tokens += ids.shape[1] - 1
    return math.exp(losses / tokens)


def _choices(protocol: Protocol, store: Store) -> Record:
    return {method.name: choose(protocol, store, method) for method in protocol.methods}


def _finals(protocol: Protocol, store: Store, choices: Record, kind: Kind) -> list[Cell]:
    seeds = protocol.final_seeds[:1] if kind == "thorough" else protocol.final_seeds
    return [
        _examined(Run(protocol, method, choices[method.name]["candidate"], seed), store, kind)
        for method in protocol.methods
        for seed in seeds
    ]


def _smaller(protocol: Protocol, store: Store, choices: Record) -> list[Cell]:
    return [
        _examined(
            Run(protocol, method, choices[method.name]["candidate"], seed, share), store, "final"
        )
        for method in protocol.methods
        if method.name in ON_COMPUTE
        for share in protocol.budgets
        for seed in protocol.final_seeds[:3]
    ]


def _costs(protocol: Protocol, store: Store) -> Cell:
    return store.cell("costs", costs_of, protocol)


def _model(run: Run, store: Store) -> Cell:
    name = f"models/{run.name}"
    return store.cell(name, train_model, run, store, store.directory / name)


def _examined(run: Run, store: Store, kind: Kind) -> Cell:
    return store.cell(f"{kind}/{run.name}", examine, run, store, kind)
