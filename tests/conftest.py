"""Settings for every test."""

from __future__ import annotations

import os

import pytest
import torch
from hypothesis import HealthCheck, settings

_SLOW_MACHINES = (HealthCheck.too_slow,)
settings.register_profile(
    "ci", derandomize=True, deadline=None, max_examples=40, suppress_health_check=_SLOW_MACHINES
)
settings.register_profile("fast", settings.get_profile("ci"), max_examples=8)
settings.register_profile("dev", deadline=None, max_examples=40)
settings.register_profile("thorough", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
