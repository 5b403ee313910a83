"""Fixtures of the studies' tests."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from aajr.studies.workers import Job


class Here:
    """A pool without processes: the jobs run where they are handed in, on one thread as there."""

    def __init__(self, count: int | None = None) -> None:
        self.count = count
        self.threads = torch.get_num_threads()

    def __enter__(self) -> Here:
        torch.set_num_threads(1)
        return self

    def __exit__(self, *error: object) -> None:
        torch.set_num_threads(self.threads)

    def run(self, title: str, batch: Sequence[Job]) -> None:
        for function, arguments in batch:
            function(*arguments)


@pytest.fixture
def here(monkeypatch) -> type[Here]:
    """Studies take the pool without processes, which starts at once."""
    for study in ("stability", "theory", "mujoco"):
        monkeypatch.setattr(f"aajr.studies.{study}._study.Workers", Here)
    return Here
