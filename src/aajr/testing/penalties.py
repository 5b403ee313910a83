"""The test suite of penalties."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aajr import Ball, Divergence, Metric, Penalty, ProjectedGradientAscent, Trajectory
from aajr.testing import dense, doubles
from aajr.testing._contract import Contract, clean, seeded

_NET = dense.tanh_net()  # built here, because building one uses the global random state
every_metric = pytest.mark.parametrize("metric", dense.METRICS.values(), ids=dense.METRICS)


def trajectory_of(policy: nn.Module, x: Tensor | None = None) -> Trajectory:
    """A trajectory from x, with a row of data per sample."""
    x = dense.inputs() if x is None else x
    attack = ProjectedGradientAscent(Ball("l2", 0.5), Divergence(), steps=2)
    return attack(policy, x, seeded(3), {"weights": torch.cat([2 * x, x[:, :1] - 1], 1)})


def value_of(
    penalty: Penalty, policy: nn.Module, trajectory: Trajectory, update: int = 0
) -> Tensor:
    """One call with a fresh generator."""
    return penalty(policy, trajectory, seeded(), update)


class PenaltyContract(Contract):
    """The test suite of penalties: a subclass named ``Test...`` writes :meth:`make`.

    Attributes:
        zero: greatest value of the penalty where the policy is constant.
        gradient_of_value: whether its gradient is that of its value. This is false if the penalty
            holds an inner search constant.

    Example:
        >>> from aajr import AAJR
        >>> class TestAlongTheStep(PenaltyContract):
        ...     def make(self, **common) -> Penalty:
        ...         return AAJR(direction="step", **common)
    """

    tolerance = 1e-6
    zero: float = 0.0
    gradient_of_value: bool = True

    def make(self, **common: Any) -> Penalty:
        """The penalty under test with ``metric``, ``fraction`` or ``interval`` as given."""
        raise NotImplementedError("write make(self, **common), which returns your penalty")

    def outcome(self, policy: nn.Module, generator: torch.Generator) -> list[Tensor]:
        """The penalty on half of the rows."""
        trajectory = trajectory_of(_NET, clean())
        return [self.make(fraction=0.5)(policy, trajectory, generator)]

    def rows(self, policy: nn.Module, x: Tensor) -> list[Tensor]:
        """The penalty of every row."""
        trajectory = trajectory_of(policy, x)
        return [self.make(fraction=1.0).per_sample(policy, trajectory, seeded())]

    @every_metric
    def test_it_is_a_positive_scalar_with_a_gradient(self, metric: Metric) -> None:
        """On a nonlinear policy, the penalty is positive and has a gradient."""
        policy = dense.tanh_net()
        value = value_of(self.make(metric=metric), policy, trajectory_of(policy))
        assert value.shape == ()
        assert value.dtype == torch.float64
        assert float(value.detach()) > 0
        gradient = dense.parameter_gradient(value, policy)
        assert bool(gradient.isfinite().all())
        assert float(gradient.norm()) > 1e-6

    @every_metric
    def test_its_gradient_is_the_slope_of_its_value(self, metric: Metric) -> None:
        """The gradient with respect to the parameters equals a central difference."""
        if not self.gradient_of_value:
            pytest.skip("an inner search is held constant")
        policy = dense.tanh_net()
        trajectory, penalty = trajectory_of(policy), self.make(metric=metric, fraction=1.0)
        gradient = dense.parameter_gradient(value_of(penalty, policy, trajectory), policy)
        direction = torch.randn(
            gradient.shape, generator=torch.Generator().manual_seed(4), dtype=gradient.dtype
        )
        direction = direction / direction.norm() + gradient / gradient.norm()

        def moved(by: float) -> Tensor:
            other = dense.tanh_net()
            start = nn.utils.parameters_to_vector(other.parameters()).detach()
            nn.utils.vector_to_parameters(start + by * direction, other.parameters())
            return value_of(penalty, other, trajectory).detach()

        slope = (moved(1e-4) - moved(-1e-4)) / 2e-4
        torch.testing.assert_close(slope, gradient @ direction, rtol=1e-4, atol=1e-6)

    def test_a_constant_policy_costs_nothing(self) -> None:
        """Where J = 0, value and gradient are finite and the value is ``zero`` at most."""
        policy = dense.tanh_net()
        trajectory = trajectory_of(policy)
        nn.init.zeros_(doubles.linear(policy, 2).weight)
        value = value_of(self.make(), policy, trajectory)
        assert float(value.detach()) <= self.zero
        assert bool(dense.parameter_gradient(value, policy).isfinite().all())

    @every_metric
    def test_a_fraction_of_the_rows_is_unbiased(
        self, metric: Metric, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The mean over all pairs of four rows is the mean over the rows."""
        policy = dense.tanh_net()
        trajectory = trajectory_of(policy)
        doubles.identical_noise(monkeypatch)
        full = value_of(self.make(metric=metric, fraction=1.0), policy, trajectory)
        halves = []
        for pair in itertools.combinations(range(dense.BATCH), 2):
            rest = [row for row in range(dense.BATCH) if row not in pair]
            order = torch.tensor([*pair, *rest])
            monkeypatch.setattr(torch, "randperm", lambda *_, order=order, **__: order)
            halves.append(value_of(self.make(metric=metric, fraction=0.5), policy, trajectory))
        assert len({float(half.detach()) for half in halves}) == math.comb(dense.BATCH, 2)
        dense.assert_matches(torch.stack(halves).mean(), full, policy, tolerance=1e-7)

    def test_a_tiny_fraction_still_takes_a_row(self) -> None:
        """A small fraction is never rounded to zero rows."""
        policy = dense.tanh_net()
        value = value_of(self.make(fraction=1e-3), policy, trajectory_of(policy))
        assert float(value.detach()) > 0

    def test_an_interval_is_unbiased(self) -> None:
        """The sum over updates is the same with and without an interval."""
        policy = dense.tanh_net()
        trajectory = trajectory_of(policy)
        every = value_of(self.make(interval=1), policy, trajectory).detach()
        values = [
            value_of(self.make(interval=3), policy, trajectory, update).detach()
            for update in range(6)
        ]
        torch.testing.assert_close(torch.stack(values).sum(), 6 * every)
        assert [float(v) > 0 for v in values] == [True, False, False] * 2

    def test_agents_and_features(self) -> None:
        """A sample may be a team of agents with features."""
        flat = dense.tanh_net(6, 6)
        policy = nn.Sequential(nn.Flatten(1), flat, nn.Unflatten(1, (2, 3)))
        attack = ProjectedGradientAscent(Ball("l2", 0.5, event_dims=2))
        data = {"weights": dense.inputs(4, 2, 3)}
        trajectory = attack(policy, dense.inputs(4, 2, 3), seeded(), data)
        assert float(value_of(self.make(), policy, trajectory).detach()) > 0

    def test_float32_agrees_with_float64(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Single precision gives three correct digits."""
        values = []
        policies = {dtype: dense.tanh_net(dtype=dtype) for dtype in (torch.float32, torch.float64)}
        places = {dtype: dense.inputs(dtype=dtype) for dtype in policies}
        weights = {dtype: dense.inputs(4, 6, seed=8, dtype=dtype) for dtype in policies}
        doubles.identical_noise(monkeypatch)
        for dtype, policy in policies.items():
            attack = ProjectedGradientAscent(Ball("l2", 0.5), steps=2)
            generator = seeded()
            data = {"weights": weights[dtype]}
            trajectory = attack(policy, places[dtype], generator, data)
            value = value_of(self.make(fraction=1.0), policy, trajectory)
            assert value.dtype == dtype
            values.append(float(value.detach()))
        assert values[0] == pytest.approx(values[1], rel=5e-3)

    @pytest.mark.parametrize(
        ("common", "message"),
        [
            ({"fraction": 0.0}, r"fraction=0\.0 is not allowed; give a finite number > 0 and <= 1"),
            ({"fraction": 1.5}, r"fraction=1\.5 is not allowed"),
            ({"fraction": math.nan}, "fraction=nan is not allowed"),
            ({"interval": 0}, "interval=0 is not allowed; give a whole number >= 1"),
            ({"metric": "fisher"}, "metric='fisher' is no Metric; give for instance aajr.Euclid"),
        ],
    )
    def test_bad_settings_are_refused(self, common: dict[str, Any], message: str) -> None:
        """Settings out of range raise a ValueError that names them."""
        with pytest.raises(ValueError, match=message):
            self.make(**common)


def weighted_output(output: Tensor, reference: Any) -> Tensor:
    """An objective that reads the data of its row."""
    return (output.sin() * reference.data["weights"]).flatten(1).sum(1)
