"""Studies on Ray: a killed worker is replaced, and the figures are those of plain processes."""

import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from aajr.studies import RayWorkers, Workers
from aajr.studies.comparison import STUDY, jobs
from tests.unit.studies.comparison.test_reproduce import TINY, scores_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:Tip. In future versions of Ray:FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(autouse=True)
def no_ray_of_other_tests():
    """RLlib leaves Ray running in its process."""
    ray.shutdown()


def count_to(path: Path, goal: int, die_at: int | None) -> None:
    """Count from the checkpoint on; die once on the way, as a lost machine would."""
    while (reached := int(path.read_text()) if path.exists() else 0) < goal:
        path.write_text(str(reached + 1))
        with path.with_suffix(".log").open("a") as log:
            log.write(f"{reached + 1} ")
        if reached + 1 == die_at:
            os.kill(os.getpid(), signal.SIGKILL)


def fail(parameter: int) -> None:
    raise ValueError(f"parameter={parameter} is bad; use another")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def train_and_die_once(space, method, weight, seed, marker):
    """The real training job, killed once after it has begun."""
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return jobs.train_method(space, method, weight, seed)


def test_a_killed_worker_is_replaced_and_goes_on_from_its_checkpoint(tmp_path):
    with RayWorkers(tmp_path, count=2) as pool:
        pool.run("count", [(count_to, (tmp_path / str(i), 5, 3 if i else None)) for i in range(2)])
    assert [(tmp_path / str(i)).read_text() for i in range(2)] == ["5", "5"]
    assert (tmp_path / "1.log").read_text() == "1 2 3 4 5 "


def test_errors_of_a_job_are_raised_as_they_are_and_deaths_without_end_with_a_remedy(tmp_path):
    with RayWorkers(tmp_path, count=2) as pool:
        with pytest.raises(ValueError, match="parameter=7 is bad"):
            pool.run("fail", [(fail, (7,))])
        with pytest.raises(RuntimeError, match="'doomed' lost its process"):
            pool.run("doomed", [(die, ())])


def test_the_study_on_ray_with_a_killed_worker_equals_plain_processes(tmp_path):
    plain = STUDY.run(TINY, tmp_path / "plain", Workers(2))
    marker = tmp_path / "killed"

    def mortal(cell):
        if cell.function is not jobs.train_method:
            return cell
        arguments = (*cell.arguments, marker)
        return dataclasses.replace(cell, function=train_and_die_once, arguments=arguments)

    def stages(*arguments):
        for title, cells in STUDY.stages(*arguments):
            yield title, [mortal(cell) for cell in cells]

    doomed = dataclasses.replace(STUDY, stages=stages)
    on_ray = doomed.run(TINY, tmp_path / "ray", RayWorkers(tmp_path / "ray", count=2))
    assert marker.exists()
    assert scores_of(on_ray.results) == scores_of(plain.results)


def test_a_cluster_has_cores_of_its_own(tmp_path):
    with pytest.raises(ValueError, match="workers=2 with the cluster 'auto'"):
        RayWorkers(tmp_path, address="auto", count=2)


def test_without_the_option_ray_is_not_asked_for():
    # TorchRL imports an installed Ray by itself, so that Ray is made absent here
    code = (
        "import sys; sys.modules['ray'] = None\n"
        "from pathlib import Path\n"
        "from aajr.cli._running import pool_of\n"
        "pool_of(1, None, Path('.'))\n"
        "assert 'aajr.studies._ray_workers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
