"""The stages of a study as Ray tasks, on one machine or many."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

import aajr
from aajr.integrations.hosts import warn_untested
from aajr.studies._workers import Ended, Job, Pool

warn_untested("ray", "2.60", "2.61", extra="ray")

import ray  # noqa: E402
from ray.exceptions import RayError, RayTaskError  # noqa: E402
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: E402

RETRIES = 3
"""How many times a job is restarted after its process died."""


class RayWorkers(Pool):
    """Run stages of independent jobs as Ray tasks of one core and one thread.

    A job whose process dies is restarted and resumes from its own checkpoint. An exception of the
    job itself is raised. On processors of the same kind the results equal those of
    :class:`aajr.studies.Workers` bit for bit.

    Args:
        directory: directory of the jobs' files; every node must see it.
        address: address of a running cluster; ``auto`` for the one that was started on this
            machine; None starts a local cluster that ends with the pool.
        count: number of cores of a local cluster; all cores by default.

    Raises:
        ImportError: Ray is not installed.
        ValueError: both ``address`` and ``count`` are given.
        ConnectionError: there is no cluster at the address.
        RuntimeError: a node does not see the directory or has another version of aajr, or the
            process of a job died too often.

    Source: Moritz et al., Ray: a distributed framework for emerging AI applications, 2018,
    https://arxiv.org/abs/1712.05889.
    """

    def __init__(
        self, directory: Path, *, address: str | None = None, count: int | None = None
    ) -> None:
        if address is not None and count is not None:
            raise ValueError(
                f"workers={count} with the cluster {address!r}, which has cores of its own; leave "
                "it out, or leave the address out"
            )
        self._directory = directory.resolve()
        self._address = address
        self._count = count

    def __enter__(self) -> RayWorkers:
        settings: dict[str, Any] = {"address": self._address}
        if self._address is None:
            settings = {
                "address": "local",
                "num_cpus": self._count or os.cpu_count() or 1,
                "include_dashboard": False,
                "object_store_memory": 100 * 2**20,
                # same priority as plain workers; by default Ray's workers have the lowest priority
                "_system_config": {"worker_niceness": 0},
            }
        ray.init(**settings, log_to_driver=False, logging_level="ERROR")
        try:
            self._check_nodes()
        except BaseException:
            ray.shutdown()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        ray.shutdown()

    def _finish(self, title: str, jobs: Sequence[Job]) -> Ended:
        remote = ray.remote(num_cpus=1, max_retries=RETRIES)(_single_threaded)
        pending = [remote.remote(*job) for job in jobs]
        try:
            while pending:
                ended, pending = ray.wait(pending, timeout=1.0)
                for job in ended:
                    _result(title, job)
                yield len(ended)
        finally:
            for job in pending:
                ray.cancel(job, force=True)

    def _check_nodes(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        token = self._directory / f".ray-{uuid.uuid4().hex}"
        token.write_text(aajr.__version__)
        try:
            for node in ray.nodes():
                if node["Alive"] and node["Resources"].get("CPU"):
                    _check_node(node, token)
        finally:
            token.unlink()


def _check_node(node: dict[str, Any], token: Path) -> None:
    pinned = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    remote = ray.remote(num_cpus=1, scheduling_strategy=pinned)(_view)
    seen, version = _result("checking the nodes", remote.remote(token))
    name = node["NodeManagerAddress"]
    if not seen:
        raise RuntimeError(
            f"Ray's node {name} does not see the work directory {token.parent}; give --work a "
            "directory on a file system that all nodes share"
        )
    if version != aajr.__version__:
        raise RuntimeError(
            f"Ray's node {name} has aajr {version}, this machine {aajr.__version__}; install the "
            "same version on all nodes"
        )


def _result(title: str, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except RayTaskError:
        raise
    except RayError as error:
        raise RuntimeError(
            f"a job of the stage {title!r} lost its process {RETRIES + 1} times "
            f"({type(error).__name__}); look into memory and Ray's logs, then give the same "
            "command again: finished jobs are kept"
        ) from error


def _single_threaded(function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    function(*arguments)


def _view(token: Path) -> tuple[bool, str]:
    return token.is_file(), aajr.__version__
