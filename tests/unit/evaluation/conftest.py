"""Fixtures of the studies' tests."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from aajr.evaluation.workers import Job


class Here:
    """A pool without processes: the jobs run where they are handed in."""

    def __init__(self, count: int | None = None) -> None:
        self.count = count

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def run(self, title: str, batch: Sequence[Job]) -> None:
        for function, arguments in batch:
            function(*arguments)


@pytest.fixture
def here(monkeypatch) -> type[Here]:
    """Studies take the pool without processes, which starts at once."""
    for study in ("stability", "theory", "yardstick"):
        monkeypatch.setattr(f"aajr.evaluation.{study}._study.Workers", Here)
    return Here
