"""Fixtures of the studies' tests."""

from __future__ import annotations

import pytest

from aajr.studies import InProcess


@pytest.fixture
def here(monkeypatch) -> None:
    """Studies take the pool without processes, which starts at once."""
    for study in ("stability", "mujoco"):
        monkeypatch.setattr(f"aajr.studies.{study}._study.Workers", lambda count: InProcess())
