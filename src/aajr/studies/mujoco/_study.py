"""The runs of the MuJoCo study, each with its own files, and the gathered results."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import torch
from jax.experimental.compilation_cache import compilation_cache

from aajr._seeds import derive
from aajr.adversaries import ProjectedGradientAscent
from aajr.arena.attacks.victim import Victim
from aajr.arena.environments.named import resolve
from aajr.diagnostics import diagnose
from aajr.jax.ppo import Opponent, load_player, train, train_attacker
from aajr.studies._store import Cell, Store
from aajr.studies._study import Stage, tuned
from aajr.studies.mujoco._attacks import FIVE, SEVEN, SIX, played, suite_of, victim_of, worst
from aajr.studies.mujoco._protocol import Attacker, Method, Protocol, published

Record = dict[str, Any]
VALIDATION = ("random", "mad", "critic", "push", "steer", "pa_ad")
"""First parts of the names of the attacks that are used for tuning."""

Kind = Literal["validation", "final", "thorough"]

UNIT = "L∞, observations normalised by the agent's own running statistics"


def stages(protocol: Protocol, store: Store) -> Iterator[Stage]:
    """The stages: tuning, final agents with their attackers, and longer attacks on some agents."""
    methods = methods_of(protocol)
    yield (
        "tuning",
        [
            _examined(protocol, store, method, value, seed, "validation")
            for seed in protocol.validation_seeds
            for method in methods
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
    return {
        "preset": protocol.name,
        "unit": UNIT,
        "choices": choices,
        "agents": [cell.value() for cell in _finals(protocol, store, choices, "final")],
        "thorough": [cell.value() for cell in _finals(protocol, store, choices, "thorough")],
        "published": [dataclasses.asdict(one) for one in published(protocol.environment)],
        "protocol": protocol.facts(),
        "methods": [method.facts() for method in methods_of(protocol)],
        "groups": {"five": FIVE, "six": SIX, "seven": SEVEN},
        **facts,
    }


def methods_of(protocol: Protocol) -> tuple[Method, ...]:
    """The protocol's methods and the further ones that ``extra`` names.

    Raises:
        ValueError: ``extra`` names no method, or one whose name is taken.
    """
    if not protocol.extra:
        return protocol.methods
    try:
        found = resolve(protocol.extra)
    except (ValueError, ImportError) as error:
        raise ValueError(f"extra={protocol.extra!r} cannot be loaded: {error}") from error
    further = found if isinstance(found, tuple) else (found,)
    if not all(isinstance(one, Method) for one in further):
        raise ValueError(f"extra={protocol.extra!r} is {found!r}; give a Method or a tuple of them")
    names = [method.name for method in (*protocol.methods, *further)]
    if len(set(names)) < len(names):
        raise ValueError(f"extra={protocol.extra!r} repeats a name among {names}; rename it")
    return (*protocol.methods, *further)


def train_agent(
    protocol: Protocol, method: Method, value: float, seed: int, directory: Path
) -> Record:
    """Train one agent; return its last training return and the seconds that it took."""
    recipe = method.recipe(protocol, value)
    with kept_programs(directory.parents[1]):
        run = train(
            protocol.environment,
            directory,
            recipe.config,
            recipe.robust,
            opponent=recipe.opponent,
            seed=seed,
            threads=1,
        )
    return {"return": run.log[-1]["return"], "seconds": run.log[-1]["seconds"]}


@contextmanager
def kept_programs(directory: Path) -> Iterator[None]:
    """Keep what JAX compiles in ``directory/compiled``, unless JAX keeps it elsewhere already."""
    name = "jax_compilation_cache_dir"
    if getattr(jax.config, name):
        yield
        return
    compilation_cache.reset_cache()
    jax.config.update(name, str(directory / "compiled"))  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        jax.config.update(name, None)  # type: ignore[no-untyped-call]
        compilation_cache.reset_cache()


def attack_agent(
    protocol: Protocol, attacker: Attacker, steps: int, seed: int, agent: Path, directory: Path
) -> Record:
    """Train one attacker of a finished agent."""
    sizes = {name: getattr(protocol.config, name) for name in ("environments", "rollout")}
    config = dataclasses.replace(attacker.config, steps=steps, **sizes)
    with kept_programs(agent.parents[1]):
        run = train_attacker(
            protocol.environment,
            load_player(agent),
            directory,
            Opponent(attacker.kind, protocol.epsilon, coverage=attacker.coverage),
            config,
            seed=derive(seed, "attacker", attacker.name),
            threads=1,
        )
    return {"return": run.log[-1]["return"], "seconds": run.log[-1]["seconds"]}


def examine(
    protocol: Protocol, store: Store, method: Method, value: float, seed: int, kind: Kind
) -> Record:
    """Attack one agent; train it and its attackers first if they do not exist."""
    trained = agent_cell(protocol, store, method, value, seed)
    trained.fill()
    learned = _attackers(protocol, store, method, value, seed, kind)
    for cell in learned.values():
        cell.fill()
    episodes = protocol.episodes if kind == "final" else protocol.validation_episodes
    victim = victim_of(trained.directory, protocol, episodes, seed)
    ball, found = victim.ball(protocol.epsilon), {"none": played(victim)}
    places = {name: cell.directory for name, cell in learned.items()}
    for spec in suite_of(protocol, places, thorough=kind == "thorough").attacks:
        if kind != "validation" or spec.name.startswith(VALIDATION):
            found[spec.name] = played(victim, spec.name, spec.build(ball, victim))
    return {
        "method": method.name,
        "value": value,
        "seed": seed,
        "trained": trained.value(),
        "sensitivity": _sensitivity(protocol, victim),
        "returns": {name: one.record.returns.tolist() for name, one in found.items()},
        "largest_perturbation": {
            name: one.score.largest_perturbation for name, one in found.items()
        },
    }


def _sensitivity(protocol: Protocol, victim: Victim) -> dict[str, float]:
    """Size and alignment of the Jacobian at states of the victim, in its own metric."""
    source = torch.Generator().manual_seed(derive(victim.match.seed, "sensitivity"))
    search = ProjectedGradientAscent(
        victim.ball(protocol.epsilon), victim.divergence, steps=protocol.inner_steps
    )
    states = victim.states[:1024]
    trajectory = search(victim.actor, states, source)
    found = diagnose(victim.actor, trajectory, source, metric=victim.metric)
    return {name: float(value) for name, value in found.items()}


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
    place = store.directory / name
    return store.cell(name, train_agent, protocol, method, value, seed, place)


def _attackers(
    protocol: Protocol, store: Store, method: Method, value: float, seed: int, kind: Kind
) -> dict[str, Cell]:
    """The cells of an agent's attackers, by the attack's name."""
    known: dict[Kind, tuple[tuple[Attacker, ...], int]] = {
        "validation": (protocol.attackers[:1], protocol.validation_steps),
        "final": (protocol.attackers, protocol.attacker_steps),
        "thorough": (protocol.beside, protocol.attacker_steps),
    }
    chosen, steps = known[kind]
    agent = agent_cell(protocol, store, method, value, seed).directory
    cells: dict[str, Cell] = {}
    for attacker in chosen:
        name = f"attackers/{kind}/{_label(method, value, seed)}/{attacker.name}"
        arguments = (protocol, attacker, steps, seed, agent, store.directory / name)
        cells[attacker.name] = store.cell(name, attack_agent, *arguments)
    return cells


def _examined(
    protocol: Protocol, store: Store, method: Method, value: float, seed: int, kind: Kind
) -> Cell:
    name = f"{kind}/{_label(method, value, seed)}"
    return store.cell(name, examine, protocol, store, method, value, seed, kind)


def _choices(protocol: Protocol, store: Store) -> Record:
    return {method.name: choose(protocol, store, method) for method in methods_of(protocol)}


def _finals(protocol: Protocol, store: Store, choices: Record, kind: Kind) -> Sequence[Cell]:
    seeds = protocol.final_seeds[:1] if kind == "thorough" else protocol.final_seeds
    return [
        _examined(protocol, store, method, choices[method.name]["value"], seed, kind)
        for method in methods_of(protocol)
        for seed in seeds
    ]


def _label(method: Method, value: float, seed: int) -> str:
    return f"{method.name}_{value:g}_{seed}"
