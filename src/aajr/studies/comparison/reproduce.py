"""The main job: leagues, plain policies, all methods, attacks, comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from aajr.report.provenance import machine_facts, version_facts
from aajr.studies._workers import Job, Pool, Workers
from aajr.studies.comparison import jobs
from aajr.studies.comparison.presets import Method, Preset
from aajr.studies.comparison.records import Results, Run

Cell = tuple[Method, "float | None"]


def reproduce(preset: Preset, work: Path, pool: Pool | None = None) -> Results:
    """Run whatever of the comparison is not yet done, and gather its results.

    Args:
        preset: the comparison.
        work: directory for checkpoints and partial results; a second call goes on from there.
        pool: where the jobs run; as many processes as cores by default.

    Returns:
        All runs, floors and facts.
    """
    space = workspace(preset, work)
    space.directory.mkdir(parents=True, exist_ok=True)
    cells: list[Cell] = [(m, w) for m in preset.methods for w in (m.weights or (None,))]
    seeds = (*preset.validation_seeds, *preset.final_seeds)
    with pool or Workers() as pool:
        for title, batch in _training_stages(space, cells, seeds):
            pool.run(title, batch)
        chosen = choose_weights(space)
        curves: list[Job] = [
            (jobs.score_curve, (space, method, weight, seed))
            for method, weight in chosen
            for seed in preset.final_seeds
        ]
        pool.run("curves of success against ε", curves)
        # alone, so that the ratios are not disturbed
        pool.run("cost of an update", [(jobs.measure_overheads, (space,))])
        pool.run("replay", [(jobs.record_replays, (space, chosen))])
    runs = tuple(
        jobs.read_run(space, method, weight, seed, selected=(method, weight) in chosen)
        for method, weight in cells
        for seed in seeds
    )
    return _results(space, runs)


def workspace(preset: Preset, work: Path) -> jobs.Workspace:
    """Where :func:`reproduce` keeps its pieces, ``replay.json`` among them."""
    return jobs.Workspace(preset, work / f"{preset.name}-{preset.fingerprint}")


def choose_weights(space: jobs.Workspace) -> list[Cell]:
    """Each method with the weight of best worst-case success on the validation seeds.

    Without validation seeds the middle of the grid is taken.
    """
    preset = space.preset
    chosen: list[Cell] = []
    for method in preset.methods:
        if not method.weights:
            chosen.append((method, None))
        elif not preset.validation_seeds:
            chosen.append((method, method.weights[len(method.weights) // 2]))
        else:
            chosen.append((method, max(method.weights, key=_validation_worst(space, method))))
    return chosen


def _validation_worst(space: jobs.Workspace, method: Method) -> Callable[[float], float]:
    def worst(weight: float) -> float:
        values = [
            min(s["success"] for s in jobs.read_scores(space, method, weight, seed))
            for seed in space.preset.validation_seeds
        ]
        return sum(values) / len(values)

    return worst


def _training_stages(
    space: jobs.Workspace, cells: Sequence[Cell], seeds: Sequence[int]
) -> list[tuple[str, list[Job]]]:
    leagues = [
        (base, index)
        for base in (jobs.TRAIN_LEAGUE, jobs.TEST_LEAGUE)
        for index in range(space.preset.opponents)
    ]
    return [
        ("leagues of opponents", [(jobs.train_league, (space, *league)) for league in leagues]),
        ("plain policies", [(jobs.pretrain, (space, seed)) for seed in seeds]),
        (
            "methods, trained and attacked",
            [(jobs.train_method, (space, *cell, seed)) for seed in seeds for cell in cells],
        ),
    ]


def _results(space: jobs.Workspace, runs: tuple[Run, ...]) -> Results:
    preset = space.preset
    floors = tuple(
        Run(method=name, seed=seed, split="final", threat=preset.threat, scores=(score,))
        for seed in preset.final_seeds
        for name, score in jobs.floor_scores(space, seed).items()
    )
    protocol = {
        name: value for name, value in preset.facts.items() if name not in ("name", "scope")
    }
    return Results(
        preset=preset.name,
        runs=runs,
        floors=floors,
        reference_epsilon=preset.reference_epsilon,
        command=f"aajr reproduce --preset {preset.name}",
        scope=preset.scope,
        protocol=protocol,
        machine=machine_facts(),
        versions=version_facts(),
    )
