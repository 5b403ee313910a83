"""The constraint form: closed-form moves of λ, and a constraint that is held."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aajr import AAJR, Ball, DualAscent, Frobenius, Minimax, ProjectedGradientAscent
from aajr.testing import dense


@given(st.floats(0.01, 100), st.floats(0.01, 100), st.floats(0.01, 1.0))
def test_a_move_is_the_clipped_log_ratio(level, gamma, rate):
    weight = DualAscent(gamma, quantile=1.0, rate=rate, weight=0.5)
    assert weight.observe(torch.tensor([level**2, 0.0], dtype=torch.float64)) == pytest.approx(
        level
    )
    expected = math.log(0.5) + rate * min(1.0, max(-1.0, math.log(level / gamma)))
    assert math.log(weight(0)) == pytest.approx(expected, abs=1e-9)


@given(st.floats(0.4, 2.5), st.floats(0.4, 2.5), st.floats(0.0, 5.0))
def test_the_change_of_the_excess_damps(first, second, damping):
    weight = DualAscent(1.0, quantile=1.0, rate=1e-9, damping=damping, weight=0.5)
    for level in (first, second):
        weight.observe(torch.tensor([level**2], dtype=torch.float64))
    change = damping * (math.log(second) - math.log(first))
    assert math.log(weight(0)) == pytest.approx(math.log(0.5) + change, abs=1e-6)


def test_the_quantile_decides():
    values = torch.arange(1, 101, dtype=torch.float64).square()
    assert DualAscent(1.0, quantile=0.5).observe(values) == pytest.approx(50.5)
    assert DualAscent(1.0, quantile=1.0).observe(values) == 100.0


def test_the_weight_stays_within_its_bounds():
    weight = DualAscent(1.0, rate=1.0, least=0.5, greatest=2.0, weight=1.0)
    for _ in range(5):
        weight.observe(torch.full((4,), 1e6))
    assert weight(0) == 2.0
    for _ in range(9):
        weight.observe(torch.zeros(4))
    assert weight(0) == 0.5


def linear_task(gamma: float, updates: int = 600) -> tuple[list[float], list[float]]:
    """Fit the slope 3 of one feature under ‖Jv‖ ≤ γ; returns the slopes and λ."""
    policy = torch.nn.Linear(1, 1, bias=False).double()
    attack = ProjectedGradientAscent(
        Ball("l2", 0.1), lambda output, reference: output.sum(1), random_start=False
    )
    weight = DualAscent(gamma, weight=1e-2)
    penalty = AAJR(fraction=1.0, estimator="forward_mode", interval=1)
    robust = Minimax(attack, penalty, weight=weight, placement="clean")
    x = torch.ones(8, 1, dtype=torch.float64)
    optimizer = torch.optim.SGD(policy.parameters(), lr=0.05)
    slopes, weights = [], []
    for _ in range(updates):
        loss = robust(policy, x, lambda output: (output - 3 * x).square().mean())
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        slopes.append(abs(float(policy.weight.detach())))
        weights.append(weight.weight)
    return slopes, weights


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_an_active_constraint_is_held_with_the_multiplier_of_the_lagrangian(gamma):
    # min (w - 3)² subject to |w| ≤ γ: w = γ, and λ w = 3 - w
    slopes, weights = linear_task(gamma)
    assert slopes[-1] == pytest.approx(gamma, rel=0.01)
    assert weights[-1] == pytest.approx((3 - gamma) / gamma, rel=0.05)


def test_an_idle_constraint_costs_nothing():
    slopes, weights = linear_task(5.0)
    assert slopes[-1] == pytest.approx(3.0, rel=1e-3)
    assert weights[-1] < 1e-4


def test_the_state_survives(tmp_path):
    policy, x = dense.tanh_net(), dense.inputs()

    def make():
        attack = ProjectedGradientAscent(Ball("l2", 0.1))
        return Minimax(attack, Frobenius(), weight=DualAscent(0.1, weight=1.0))

    def totals(robust, count):
        return [float(robust(policy, x, lambda o: o.sum()).total.detach()) for _ in range(count)]

    whole = make()
    expected = totals(whole, 6)
    first, second = make(), make()
    begun = totals(first, 3)
    second.load_state_dict({name: value.clone() for name, value in first.state_dict().items()})
    assert begun + totals(second, 3) == expected


def test_what_was_measured_is_reported():
    policy = dense.tanh_net()
    robust = Minimax(
        ProjectedGradientAscent(Ball("l2", 0.1)), AAJR(interval=2), weight=DualAscent(0.1)
    )
    diagnostics = [robust(policy, dense.inputs(), lambda o: o.sum()).diagnostics for _ in range(2)]
    assert diagnostics[0]["weight"] == 1e-3
    assert diagnostics[0]["sensitivity_quantile"] > 0
    assert "sensitivity_quantile" not in diagnostics[1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DualAscent(0.0), r"gamma=0\.0 is not allowed"),
        (lambda: DualAscent(-1.0), r"gamma=-1\.0 is not allowed"),
        (lambda: DualAscent(1.0, quantile=1.5), r"quantile=1\.5 is not allowed"),
        (lambda: DualAscent(1.0, rate=-0.1), r"rate=-0\.1 is not allowed"),
        (lambda: DualAscent(1.0, weight=0.0), r"weight=0\.0 is not allowed"),
        (
            lambda: Minimax(ProjectedGradientAscent(Ball("l2", 0.1)), weight=DualAscent(1.0)),
            "follows a penalty; give one",
        ),
        (
            lambda: Minimax(
                ProjectedGradientAscent(Ball("l2", 0.1)), AAJR(gamma=1.0), weight=DualAscent(1.0)
            ),
            r"gamma=1\.0 makes a hinge of it",
        ),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
