"""Which points of which runs make up a family."""

import numpy as np

from aajr.studies.comparison.analysis import family_points
from tests.unit.studies.comparison.synthetic_results import make_results


def test_adversarial_run_is_the_shared_end():
    runs = make_results(seeds=2, noise=0.0).runs
    points = family_points(runs, "aajr", 0.2)
    assert set(points) == {0, 1}
    assert [point.weight for point in points[0]] == [0.0, 0.01, 0.03, 0.1]
    adversarial = next(run for run in runs if run.method == "adversarial" and run.seed == 0)
    assert points[0][0].clean == adversarial.scores[0].success
    assert family_points(runs, "spectral", 0.2) == {}


def test_order_of_the_runs_is_nothing():
    runs = list(make_results(seeds=4).runs)
    expected = family_points(runs, "aajr", 0.2)
    np.random.default_rng(0).shuffle(runs)
    assert family_points(runs, "aajr", 0.2) == expected
