"""Cost of J v by every estimator, against a plain forward and backward pass."""

import pytest
import torch
from torch import nn

from aajr.jacobian import ESTIMATORS, directional_derivative

ROWS = 2560


def network() -> nn.Module:
    return nn.Sequential(
        nn.Linear(60, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 26)
    )


@pytest.mark.parametrize("name", ["plain", *ESTIMATORS])
def test_estimator(benchmark, name):
    policy, x = network(), torch.randn(ROWS, 60)
    v = torch.nn.functional.normalize(torch.randn(ROWS, 60), dim=1)

    def work():
        if name == "plain":
            policy(x).square().mean().backward()
        else:
            directional_derivative(policy, x, v, name)[1].square().mean().backward()

    benchmark(work)
