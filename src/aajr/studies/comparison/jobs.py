"""The pieces of work of a comparison. Each leaves a file, so that a killed run goes on."""

from __future__ import annotations

import dataclasses
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDict

from aajr.arena.advantages import rows_of
from aajr.arena.agents import Actor
from aajr.arena.checkpoints import load_checkpoint
from aajr.arena.collection import FrozenTeam, LearningTeam, Player, collect
from aajr.arena.records import CLEAN, Score
from aajr.arena.victim import Victim
from aajr.hide_and_seek.game import make_torchrl_env
from aajr.hide_and_seek.game.matches import Match, floors
from aajr.hide_and_seek.replay import record_replay, write_replay
from aajr.hide_and_seek.training.config import TrainConfig
from aajr.hide_and_seek.training.learner import Learner
from aajr.hide_and_seek.training.trainer import Trainer, load_actor
from aajr.report.files import write_json
from aajr.studies.comparison.attacks import scores_of, sensitivity, suite_of
from aajr.studies.comparison.presets import Method, Preset
from aajr.studies.comparison.records import Run

TRAIN_LEAGUE, TEST_LEAGUE = 7000, 8000
_EVALUATION_SEED = 900_000


@dataclass(frozen=True)
class Workspace:
    """Where the pieces of one comparison lie.

    Attributes:
        preset: the comparison.
        directory: its working directory.
    """

    preset: Preset
    directory: Path

    def league(self, base: int, index: int) -> Path:
        """Directory of a self-play run."""
        return self.directory / f"league_{base + index}"

    def pretrained(self, seed: int) -> Path:
        """Directory of the plain policy that all methods of a seed start from."""
        return self.directory / f"pretrained_{seed}"

    def run(self, method: Method, weight: float | None, seed: int) -> Path:
        """Directory of a training run."""
        label = method.name if weight is None else f"{method.name}_{weight:g}"
        return self.directory / f"{label}_{seed}"

    def seekers(self, base: int) -> list[Actor]:
        """The frozen seekers of a league."""
        paths = [self.league(base, index) for index in range(self.preset.opponents)]
        return [load_actor(path / "checkpoint.safetensors", "seeker") for path in paths]

    def match(self, seed: int) -> Match:
        """The evaluation's match against the test league, on starts of the seed's own."""
        preset = self.preset
        opponents = self.seekers(TEST_LEAGUE)
        return Match(preset.env, opponents, preset.episodes, _EVALUATION_SEED + seed)


def train_league(space: Workspace, base: int, index: int) -> None:
    """Self-play of both teams; its seekers become frozen opponents."""
    config = TrainConfig(
        iterations=space.preset.league_iterations,
        seed=base + index,
        learners=("hider", "seeker"),
        env=space.preset.env,
        ppo=space.preset.ppo,
    )
    _exhaust(Trainer(config, directory=space.league(base, index)))


def pretrain(space: Workspace, seed: int) -> None:
    """Plain training of the hiders against the training league."""
    config = TrainConfig(
        iterations=space.preset.pretrain_iterations,
        seed=10_000 + seed,
        env=space.preset.env,
        ppo=space.preset.ppo,
    )
    _exhaust(Trainer(config, space.seekers(TRAIN_LEAGUE), space.pretrained(seed)))


def train_method(space: Workspace, method: Method, weight: float | None, seed: int) -> None:
    """Further training by a method, and its scores at the reference radius."""
    directory = space.run(method, weight, seed)
    if (directory / "reference.json").exists():
        return
    trainer = Trainer(
        space.preset.train_config(method, weight, seed),
        space.seekers(TRAIN_LEAGUE),
        directory,
        initial=pretrained_weights(space, seed),
    )
    seconds = [metrics["update_seconds"] for metrics in trainer.run()]
    victim = victim_of(space, directory, seed)
    reference = space.preset.reference_epsilon
    suite = suite_of(space.preset)
    norms = trainer.gradient_norms["hider"]
    facts = {
        "scores": [dataclasses.asdict(s) for s in scores_of(victim, suite, [reference])],
        "diagnostics": sensitivity(victim, reference),
        "critic_r2": list(victim.preparation.values()),
        "gradient_norm": _norm_facts(norms["outer"]),
        "inner_gradient_norm": _norm_facts(norms["inner"]),
        "seconds_per_update": statistics.median(seconds) if seconds else None,
    }
    write_json(directory / "reference.json", facts)


def score_curve(space: Workspace, method: Method, weight: float | None, seed: int) -> None:
    """Scores of a run at all radii but the reference."""
    directory = space.run(method, weight, seed)
    if (directory / "curve.json").exists():
        return
    epsilons = [e for e in space.preset.epsilons if e != space.preset.reference_epsilon]
    found = scores_of(victim_of(space, directory, seed), suite_of(space.preset), epsilons)
    scores = [dataclasses.asdict(score) for score in found if score.attack != CLEAN]
    write_json(directory / "curve.json", {"scores": scores})


def measure_overheads(space: Workspace, rounds: int = 7) -> None:
    """Time of every method's update over the adversarial one's, interleaved on the same rows."""
    path = space.directory / "overheads.json"
    if path.exists():
        return
    preset = space.preset
    learners = {m.name: _learner(space, m) for m in preset.methods if m.placement != "none"}
    rows = sample_rows(space, next(iter(learners.values())), TRAIN_LEAGUE, seed=0)
    seconds: dict[str, list[float]] = {name: [] for name in learners}
    for turn in range(rounds):
        for name, learner in learners.items():
            began = time.perf_counter()
            learner.update(rows.clone(), torch.Generator().manual_seed(turn))
            seconds[name].append(time.perf_counter() - began)
    base = statistics.median(seconds["adversarial"][1:])
    write_json(path, {name: statistics.median(times[1:]) / base for name, times in seconds.items()})


def record_replays(
    space: Workspace, chosen: Sequence[tuple[Method, float | None]], episodes: int = 8
) -> None:
    """The first start of a small match, played by AAJR's and a rival's chosen policies."""
    path = space.directory / "replay.json"
    if path.exists():
        return
    preset = space.preset
    seed = preset.final_seeds[0]
    shown = {method.name: (method, weight) for method, weight in _two_of(chosen)}
    actors = {
        name: load_actor(space.run(*cell, seed) / "checkpoint.safetensors", "hider")
        for name, cell in shown.items()
    }
    match = dataclasses.replace(space.match(seed), episodes=min(episodes, preset.episodes))
    replay = record_replay(
        match, actors, preset.threat, preset.reference_epsilon, preset.effort.steps
    )
    write_replay(replay, path)


def _two_of(
    chosen: Sequence[tuple[Method, float | None]],
) -> list[tuple[Method, float | None]]:
    wanted = ("aajr", "global", "adversarial")
    ranks = {name: rank for rank, name in enumerate(wanted)}
    return sorted(chosen, key=lambda cell: ranks.get(cell[0].name, len(wanted)))[:2]


def floor_scores(space: Workspace, seed: int) -> dict[str, Score]:
    """Motionless and random hiders against the test league."""
    return floors(space.match(seed))


def read_run(
    space: Workspace, method: Method, weight: float | None, seed: int, *, selected: bool
) -> Run:
    """The record of a finished run."""
    directory = space.run(method, weight, seed)
    facts = json.loads((directory / "reference.json").read_text())
    curve = directory / "curve.json"
    scores = facts.pop("scores") + (
        json.loads(curve.read_text())["scores"] if curve.exists() else []
    )
    overheads = json.loads((space.directory / "overheads.json").read_text())
    preset = space.preset
    steps = preset.iterations * preset.ppo.environments * preset.env.max_steps
    return Run(
        method=method.name,
        seed=seed,
        split="final" if seed in preset.final_seeds else "validation",
        threat=preset.threat,
        scores=tuple(Score(**score) for score in scores),
        family=method.family,
        weight=weight,
        selected=selected,
        overhead=overheads.get(method.name),
        environment_steps=steps,
        history=_history(directory),
        **{**facts, "critic_r2": tuple(facts["critic_r2"])},
    )


def read_scores(
    space: Workspace, method: Method, weight: float | None, seed: int
) -> list[dict[str, Any]]:
    """Clean and attacked scores of a run at the reference radius."""
    facts = json.loads((space.run(method, weight, seed) / "reference.json").read_text())
    scores: list[dict[str, Any]] = facts["scores"]
    return scores


def pretrained_weights(space: Workspace, seed: int) -> dict[str, dict[str, torch.Tensor]]:
    """Weights of the plain policy that all methods of a seed start from, by team."""
    tensors, _ = load_checkpoint(space.pretrained(seed) / "checkpoint.safetensors")
    weights = {
        name.removeprefix("hider."): value
        for name, value in tensors.items()
        if name.startswith(("hider.actor.", "hider.critic."))
    }
    return {"hider": weights}


def victim_of(space: Workspace, directory: Path, seed: int) -> Victim:
    """The hiders of a trained run, to be attacked as hard as the preset says."""
    preset = space.preset
    actor = load_actor(directory / "checkpoint.safetensors", "hider")
    return Victim(actor, space.match(seed), preset.threat, preset.effort)


def sample_rows(
    space: Workspace, learner: Learner, league: int, seed: int, *, attacked: bool = False
) -> TensorDict:
    """Rows of one collection against a league, clean or attacked as at the end of training."""
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


def _history(directory: Path) -> dict[str, tuple[float, ...]]:
    """The training's course, as the checkpoint tells it."""
    _, meta = load_checkpoint(directory / "checkpoint.safetensors")
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
        initial=pretrained_weights(space, space.preset.final_seeds[0]),
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
