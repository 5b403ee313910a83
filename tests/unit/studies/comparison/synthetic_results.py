"""Results made up from a formula, for the tests of statistics, tables and plots."""

import numpy as np

from aajr.arena.records.evaluation import Score
from aajr.studies.comparison.records import Results, Run

RADII = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)
WEIGHTS = (0.01, 0.03, 0.1)


def make_run(method, seed, clean, slope, *, family=None, weight=None, noise=0.0, **fields):
    """A run whose worst case falls linearly: success = clean − slope · ε."""
    rng = np.random.default_rng([seed, len(method), int(1000 * (weight or 0))])
    scores = [Score("none", 0.0, success=clean, episodes=500, mean_return=10 * clean)]
    for radius in RADII[1:]:
        for attack, share in (("noise", 0.3), ("mad", 0.8), ("critic_0", 1.0)):
            drop = share * slope * radius + noise * rng.random()
            success = float(np.clip(clean - drop, 0.0, 1.0))
            scores.append(
                Score(
                    attack,
                    radius,
                    success=success,
                    episodes=500,
                    mean_return=10 * success,
                    changed_actions=0.2,
                    largest_perturbation=radius,
                )
            )
    frobenius = 2.0 / (1 + 10 * (weight or 0))
    facts = {
        "scores": tuple(scores),
        "split": "final",
        "threat": "others",
        "diagnostics": {
            "aligned": 0.5 * frobenius,
            "frobenius": frobenius,
            "spectral": frobenius / 1.4,
            "alignment": 0.5,
            "stable_rank": 1.4 + 0.01 * seed,
        },
        "gradient_norm": {"mean": 1.0, "variance": 0.04, "largest_over_median": 3.0 + seed},
        "inner_gradient_norm": {"mean": 0.2, "variance": 0.01, "largest_over_median": 9.0},
        "seconds_per_update": 0.021,
        "overhead": None if method == "plain" else 1.04,
        "critic_r2": (0.81, 0.77),
        "environment_steps": 1_000_000,
    }
    return Run(method=method, seed=seed, family=family, weight=weight, **(facts | fields))


def make_results(seeds=5, *, lift=0.05, noise=0.02, **fields):
    """Plain, adversarial, and two families of which AAJR's frontier lies ``lift`` higher."""
    rng = np.random.default_rng(0)
    runs = []
    for seed in range(seeds):
        base = 0.72 + 0.03 * rng.standard_normal()
        runs.append(make_run("plain", seed, base + 0.03, 1.6, noise=noise))
        runs.append(make_run("adversarial", seed, base, 1.0, weight=0.0, noise=noise))
        for name, gain in (("global", 0.0), ("aajr", lift)):
            for index, weight in enumerate(WEIGHTS):
                clean = base - 0.03 * (index + 1)
                run = make_run(
                    name,
                    seed,
                    clean,
                    0.8 - 0.25 * index - 5 * gain,
                    family=name,
                    weight=weight,
                    noise=noise,
                    selected=index == 1,
                )
                runs.append(run)
    floors = tuple(
        Run(
            method=name,
            seed=0,
            split="final",
            threat="others",
            scores=(Score("none", 0.0, success=success, episodes=500, mean_return=0.0),),
        )
        for name, success in (("motionless", 0.27), ("random", 0.37))
    )
    facts = {
        "preset": "synthetic",
        "runs": tuple(runs),
        "floors": floors,
        "command": "aajr reproduce --preset synthetic",
        "scope": "Five made-up seeds: this shows the layout, and nothing about any method.",
        "protocol": {"league": "disjoint", "radii": RADII, "agents": {"hiders": 5, "seekers": 5}},
        "machine": {"processor": "none", "logical_cores": 2},
        "versions": {"aajr": "0.1.0"},
    }
    return Results(**(facts | fields))
