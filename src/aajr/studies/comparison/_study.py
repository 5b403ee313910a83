"""The main comparison as a study: leagues, plain policies, all methods, attacks, results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType

from aajr.arena.records.evaluation import Score
from aajr.hide_and_seek.replay import read_replay
from aajr.studies._store import Record, Store
from aajr.studies._study import Stage, Study, tuned
from aajr.studies.comparison import jobs
from aajr.studies.comparison.grids import Method
from aajr.studies.comparison.page import Chapter, write_report
from aajr.studies.comparison.presets import PRESETS, Preset, decisive
from aajr.studies.comparison.records import Results, Run
from aajr.studies.comparison.tables import render_table

Choice = tuple[Method, "float | None"]


def stages(preset: Preset, store: Store) -> Iterator[Stage]:
    """Opponents, plain policies, all methods, curves of the chosen methods, costs, a replay."""
    space = jobs.Workspace(preset, store)
    seeds = (*preset.validation_seeds, *preset.final_seeds)
    leagues = [*space.leagues(jobs.TRAIN_LEAGUE), *space.leagues(jobs.TEST_LEAGUE)]
    if leagues:
        yield "leagues of opponents", leagues
    yield "plain policies", [space.pretrained(seed) for seed in seeds]
    yield (
        "methods, trained and attacked",
        [space.trained(*choice, seed) for seed in seeds for choice in _grid(preset)],
    )
    chosen = choose_weights(space)
    yield (
        "curves of success against ε",
        [space.curve(*choice, seed) for choice in chosen for seed in preset.final_seeds],
    )
    yield "hiders that do not learn", [space.floors(seed) for seed in preset.final_seeds]
    # a stage of its own, so that no other job disturbs the timing
    yield "cost of an update", [space.overheads()]
    yield "replay", [space.replay(chosen)]


def gather(preset: Preset, store: Store, facts: Record) -> Chapter:
    """Gather all runs, floors, facts and the replay."""
    space = jobs.Workspace(preset, store)
    chosen = choose_weights(space)
    runs = tuple(
        jobs.read_run(space, *choice, seed, selected=choice in chosen)
        for choice in _grid(preset)
        for seed in (*preset.validation_seeds, *preset.final_seeds)
    )
    replay = read_replay(space.replay(chosen).directory / jobs.REPLAY)
    return Chapter(_results(space, runs, facts), replay)


def choose_weights(space: jobs.Workspace) -> list[Choice]:
    """Choose for each method the weight of best worst-case success on the validation seeds.

    Weights that lose too much clean success are not chosen, see ``kept`` of the preset. Without
    validation seeds the middle weight of the grid is taken.
    """
    return [(method, _chosen_weight(space, method)) for method in space.preset.methods]


def _chosen_weight(space: jobs.Workspace, method: Method) -> float | None:
    seeds = space.preset.validation_seeds
    if not method.weights:
        return None
    if not seeds:
        return method.weights[len(method.weights) // 2]

    def records(weight: float) -> list[Any]:
        return [space.trained(method, weight, seed).value() for seed in seeds]

    measures, kept = {"worst": _worst, "clean": _clean}, space.preset.kept or 0.0
    best, _ = tuned(method.weights, records, measures, ("worst",), "clean", kept)
    return best


def _worst(record: Record) -> float:
    return min(score["success"] for score in record["scores"])


def _clean(record: Record) -> float:
    return float(next(s["success"] for s in record["scores"] if s["epsilon"] == 0))


def _grid(preset: Preset) -> list[Choice]:
    return [(method, weight) for method in preset.methods for weight in method.weights or (None,)]


def _results(space: jobs.Workspace, runs: tuple[Run, ...], facts: Record) -> Results:
    preset = space.preset
    floors = tuple(
        Run(method=name, seed=seed, split="final", threat=preset.threat, scores=(Score(**score),))
        for seed in preset.final_seeds
        for name, score in space.floors(seed).value().items()
    )
    protocol = {
        name: value
        for name, value in preset.facts.items()
        if name not in ("name", "scope", "primary")
    }
    return Results(
        preset=preset.name,
        runs=runs,
        floors=floors,
        reference_epsilon=preset.reference_epsilon,
        scope=preset.scope,
        primary=preset.primary or (),
        protocol=protocol,
        **{**facts, "command": facts["command"].replace("study comparison", "reproduce")},
    )


class _Report:
    """The tables of a chapter in a terminal, and its page."""

    write = staticmethod(write_report)

    @staticmethod
    def render(results: Chapter) -> RenderableType:
        return render_table(results.results, results.analyses)


STUDY = Study(
    name="comparison",
    presets=PRESETS,
    stages=stages,
    gather=gather,
    report=_Report(),
    output="{preset}",
    decisive=decisive,
)
