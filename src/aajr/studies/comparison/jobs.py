"""The jobs of a comparison. Each job writes a file, so that a killed run can be resumed."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from tensordict import TensorDict

from aajr._seeds import derive
from aajr.arena.agents.actors import Actor
from aajr.arena.attacks.victim import Victim
from aajr.arena.records.evaluation import Score
from aajr.arena.training.advantages import rows_of
from aajr.arena.training.checkpoints import load_checkpoint
from aajr.arena.training.collection import FrozenTeam, LearningTeam, Player, collect
from aajr.hide_and_seek.game import hidden_share, make_torchrl_env
from aajr.hide_and_seek.game.actions import BINS
from aajr.hide_and_seek.game.chasers import Chasers
from aajr.hide_and_seek.game.matches import Match, floors
from aajr.hide_and_seek.replay import record_replay, write_replay
from aajr.hide_and_seek.training.config import TrainConfig
from aajr.hide_and_seek.training.learner import Learner
from aajr.hide_and_seek.training.trainer import Trainer, load_actor
from aajr.studies._store import Cell, Store
from aajr.studies.comparison.attacks import (
    outcomes_of,
    responses,
    sensitivity,
    silenced_success,
    suite_of,
)
from aajr.studies.comparison.grids import Method
from aajr.studies.comparison.presets import Preset
from aajr.studies.comparison.records import Run

TRAIN_LEAGUE, TEST_LEAGUE = 7000, 8000
CHECKPOINT, REPLAY = "checkpoint.safetensors", "replay.json"


@dataclass(frozen=True)
class Workspace:
    """The cells of one comparison.

    Attributes:
        preset: settings of the comparison.
        store: store of its cells.
    """

    preset: Preset
    store: Store

    def leagues(self, base: int) -> list[Cell]:
        """The self-play runs of a league."""
        return [
            self.store.cell(f"league_{base + index}", train_league, self, base, index)
            for index in range(self.preset.opponents)
        ]

    def pretrained(self, seed: int) -> Cell:
        """The plain policy that all methods of a seed start from."""
        return self.store.cell(f"pretrained_{seed}", pretrain, self, seed)

    def trained(self, method: Method, weight: float | None, seed: int) -> Cell:
        """A training run and its scores at the reference radius."""
        name = method.label(weight, seed)
        return self.store.cell(name, train_method, self, method, weight, seed)

    def curve(self, method: Method, weight: float | None, seed: int) -> Cell:
        """The scores of a training run at all radii except the reference."""
        name = f"curves/{method.label(weight, seed)}"
        return self.store.cell(name, score_curve, self, method, weight, seed)

    def floors(self, seed: int) -> Cell:
        """The scores of hiders that do not learn."""
        return self.store.cell(f"floors/{seed}", score_floors, self, seed)

    def overheads(self) -> Cell:
        """Relative times of an update, by method."""
        return self.store.cell("overheads", measure_overheads, self)

    def replay(self, chosen: Sequence[tuple[Method, float | None]]) -> Cell:
        """The replay of recorded episodes, a file ``replay.json``."""
        return self.store.cell("replay", record_replays, self, chosen)

    def seekers(self, base: int) -> list[Actor]:
        """The frozen seekers of a league; chasers if the preset has no leagues."""
        leagues = self.leagues(base)
        if not leagues:
            return [Chasers(self.preset.env)]
        return [load_actor(cell.directory / CHECKPOINT, "seeker") for cell in leagues]

    def match(self, seed: int) -> Match:
        """The match of the evaluation against the test league; each seed has its own starts."""
        preset = self.preset
        opponents = self.seekers(TEST_LEAGUE)
        return Match(preset.env, opponents, preset.episodes, derive(seed, "evaluation"))


def train_league(space: Workspace, base: int, index: int) -> None:
    """Train both teams by self-play; the seekers become frozen opponents."""
    config = TrainConfig(
        iterations=space.preset.league_iterations,
        seed=derive(index, "league", base),
        learners=("hider", "seeker"),
        env=space.preset.env,
        ppo=space.preset.ppo,
    )
    directory = space.leagues(base)[index].directory
    _exhaust(Trainer(config, directory=directory))


def pretrain(space: Workspace, seed: int) -> None:
    """Train the hiders against the training league, without an adversary."""
    config = TrainConfig(
        iterations=space.preset.pretrain_iterations,
        seed=derive(seed, "pretrained"),
        env=space.preset.env,
        ppo=space.preset.ppo,
    )
    directory = space.pretrained(seed).directory
    _exhaust(Trainer(config, space.seekers(TRAIN_LEAGUE), directory))


def train_method(
    space: Workspace, method: Method, weight: float | None, seed: int
) -> dict[str, Any]:
    """Train further by a method, and score the result at the reference radius."""
    directory = space.trained(method, weight, seed).directory
    trainer = Trainer(
        space.preset.train_config(method, weight, seed),
        space.seekers(TRAIN_LEAGUE),
        directory,
        initial=pretrained_weights(space, seed),
    )
    seconds = [metrics["update_seconds"] for metrics in trainer.run()]
    victim = victim_of(space, directory, seed)
    reference = space.preset.reference_epsilon
    norms = trainer.gradient_norms["hider"]
    radio = space.preset.threat == "reports"
    return {
        "scores": _scores(space, victim, [reference]),
        "response": responses(victim, BINS) if radio else {},
        "diagnostics": sensitivity(victim, reference)
        | ({"silenced": silenced_success(victim)} if radio else {}),
        "critic_r2": list(victim.preparation.values()),
        "gradient_norm": _norm_facts(norms["outer"]),
        "inner_gradient_norm": _norm_facts(norms["inner"]),
        "seconds_per_update": statistics.median(seconds) if seconds else None,
    }


def score_curve(
    space: Workspace, method: Method, weight: float | None, seed: int
) -> list[dict[str, Any]]:
    """Score a run at all radii except the reference."""
    victim = victim_of(space, space.trained(method, weight, seed).directory, seed)
    epsilons = [e for e in space.preset.epsilons if e != space.preset.reference_epsilon]
    return _scores(space, victim, epsilons, clean=False)


def measure_overheads(space: Workspace, rounds: int = 7) -> dict[str, float]:
    """Time of every method's update divided by that of the adversarial method.

    The updates are timed alternately, on the same rows.
    """
    preset = space.preset
    learners = {m.name: _learner(space, m) for m in preset.methods if m.placement != "none"}
    first = learners["adversarial"]
    rows = sample_rows(space, first, TRAIN_LEAGUE, seed=0, attacked=True)
    seconds: dict[str, list[float]] = {name: [] for name in learners}
    for turn in range(rounds):
        for name, learner in learners.items():
            began = time.perf_counter()
            learner.update(rows.clone(), torch.Generator().manual_seed(turn))
            seconds[name].append(time.perf_counter() - began)
    base = statistics.median(seconds["adversarial"][1:])
    return {name: statistics.median(times[1:]) / base for name, times in seconds.items()}


def record_replays(
    space: Workspace, chosen: Sequence[tuple[Method, float | None]], episodes: int = 8
) -> None:
    """Record the first episode of a small match for the chosen policies of AAJR and a rival."""
    preset = space.preset
    seed = preset.shown_seed
    shown = {method.name: (method, weight) for method, weight in _two_of(chosen)}
    actors = {
        name: load_actor(space.trained(*cell, seed).directory / CHECKPOINT, "hider")
        for name, cell in shown.items()
    }
    match = dataclasses.replace(space.match(seed), episodes=min(episodes, preset.episodes))
    replay = record_replay(
        match, actors, preset.threat, preset.reference_epsilon, preset.effort.steps
    )
    write_replay(replay, space.replay(chosen).directory / REPLAY)


def _two_of(
    chosen: Sequence[tuple[Method, float | None]],
) -> list[tuple[Method, float | None]]:
    wanted = ("aajr", "global", "adversarial")
    ranks = {name: rank for rank, name in enumerate(wanted)}
    return sorted(chosen, key=lambda cell: ranks.get(cell[0].name, len(wanted)))[:2]


def score_floors(space: Workspace, seed: int) -> dict[str, Any]:
    """Scores of motionless and random hiders against the test league."""
    return {name: dataclasses.asdict(one) for name, one in floors(space.match(seed)).items()}


def read_run(
    space: Workspace, method: Method, weight: float | None, seed: int, *, selected: bool
) -> Run:
    """Read the record of a finished run."""
    preset, cell = space.preset, space.trained(method, weight, seed)
    split: Literal["final", "validation"] = "final" if seed in preset.final_seeds else "validation"
    facts = cell.value()
    scores = facts.pop("scores")
    if selected and split == "final":
        scores += space.curve(method, weight, seed).value()
    hidden = tuple(score.pop("hidden") for score in scores)
    steps = preset.iterations * preset.ppo.environments * preset.env.max_steps
    return Run(
        method=method.name,
        seed=seed,
        split=split,
        threat=preset.threat,
        scores=tuple(Score(**score) for score in scores),
        hidden=hidden,
        family=method.family,
        weight=weight,
        selected=selected,
        overhead=space.overheads().value().get(method.name),
        environment_steps=steps,
        history=_history(cell.directory),
        **{**facts, "critic_r2": tuple(facts["critic_r2"])},
    )


def pretrained_weights(space: Workspace, seed: int) -> dict[str, dict[str, torch.Tensor]]:
    """Weights of the plain policy that all methods of a seed start from, by team."""
    tensors, _ = load_checkpoint(space.pretrained(seed).directory / CHECKPOINT)
    weights = {
        name.removeprefix("hider."): value
        for name, value in tensors.items()
        if name.startswith(("hider.actor.", "hider.critic."))
    }
    return {"hider": weights}


def victim_of(space: Workspace, directory: Path, seed: int) -> Victim:
    """The hiders of a trained run as a victim, with the preset's threat and attack effort."""
    preset = space.preset
    actor = load_actor(directory / CHECKPOINT, "hider")
    return Victim(actor, space.match(seed), preset.threat, preset.effort)


def sample_rows(
    space: Workspace, learner: Learner, league: int, seed: int, *, attacked: bool = False
) -> TensorDict:
    """Collect rows against a league, clean or attacked with the final ε of training."""
    preset = space.preset
    env = make_torchrl_env(preset.env, preset.ppo.environments)
    generator = torch.Generator().manual_seed(seed)
    hiders = LearningTeam(learner.actor, generator)
    if attacked:
        hiders = learner.player(learner.config.iterations, generator)
    seekers = FrozenTeam(space.seekers(league), generator)
    players: dict[str, Player] = {"hider": hiders, "seeker": seekers}
    data = collect(env, players, preset.env.max_steps, seed=seed)
    return rows_of(data, "hider", learner.critic, preset.ppo)


def _scores(
    space: Workspace, victim: Victim, epsilons: Sequence[float], *, clean: bool = True
) -> list[dict[str, Any]]:
    """Scores as dicts, each with the hidden share of its match."""
    preset = space.preset
    return [
        {
            **dataclasses.asdict(outcome.score),
            "hidden": float(hidden_share(outcome.record.sighted, preset.env).mean()),
        }
        for outcome in outcomes_of(victim, suite_of(preset), epsilons, clean=clean)
    ]


def _history(directory: Path) -> dict[str, tuple[float, ...]]:
    """Metrics of every training iteration, read from the checkpoint."""
    _, meta = load_checkpoint(directory / CHECKPOINT)
    names = {
        "success": "hiders_success",
        "return": "hiders_return",
        "gradient_norm": "hider/outer_gradient_norm",
        "inner_gradient_norm": "hider/inner_gradient_norm",
    }
    course: list[dict[str, float]] = meta["history"]
    return {
        name: tuple(metrics[key] for metrics in course)
        for name, key in names.items()
        if course and all(key in metrics for metrics in course)
    }


def _exhaust(trainer: Trainer) -> None:
    for _ in trainer.run():
        pass


def _learner(space: Workspace, method: Method) -> Learner:
    weight = method.weights[0] if method.weights else None
    config = space.preset.train_config(method, weight, 0)
    trainer = Trainer(
        config,
        space.seekers(TRAIN_LEAGUE),
        initial=pretrained_weights(space, space.preset.shown_seed),
    )
    return trainer.learners["hider"]


def _norm_facts(norms: Sequence[float]) -> dict[str, float]:
    if not norms:
        return {}
    sample = torch.tensor(norms, dtype=torch.float64)
    return {
        "mean": float(sample.mean()),
        "variance": float(sample.var(correction=0)),
        "largest_over_median": float(sample.max() / sample.median().clamp_min(1e-12)),
    }
