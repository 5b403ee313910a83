"""The tests that adversaries and penalties have in common."""

from __future__ import annotations

import contextlib
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from aajr.testing import dense, doubles


def clean() -> Tensor:
    """Inputs between -1 and 1."""
    return dense.inputs().clamp(-1, 1)


def seeded(seed: int = 0) -> torch.Generator:
    """A fresh generator."""
    return torch.Generator().manual_seed(seed)


class Contract:
    """The tests that both suites share.

    Attributes:
        tolerance: relative difference that rounding may make between a row alone and in a batch.
    """

    tolerance: float = 1e-10

    def outcome(self, policy: nn.Module, generator: torch.Generator) -> list[Tensor]:
        """One call at :func:`clean` inputs."""
        raise NotImplementedError

    def rows(self, policy: nn.Module, x: Tensor) -> list[Tensor]:
        """The results of a call with a fresh generator at x, the batch first."""
        raise NotImplementedError

    def test_only_the_generator_decides(self) -> None:
        """The same generator gives the same result under any global seed, which is not changed."""
        policy, results = dense.tanh_net(), []
        for global_seed in (1, 2):
            torch.manual_seed(global_seed)
            before = torch.get_rng_state()
            results.append(self.outcome(policy, seeded()))
            assert torch.equal(torch.get_rng_state(), before)
        assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))

    def test_rows_do_not_see_one_another(self) -> None:
        """The result of a row does not depend on the other rows of the batch."""
        others = torch.cat([clean()[:1], dense.inputs(3, dense.INPUTS, seed=5)])
        first, second = (self.rows(dense.tanh_net(), x) for x in (clean(), others))
        for one, two in zip(first, second, strict=True):
            assert len(one) == dense.BATCH
            torch.testing.assert_close(one[0], two[0], rtol=1e-9, atol=1e-12)

    def test_a_row_alone_equals_that_row_in_a_batch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With the same noise, a row alone has the same result as in a batch."""
        policy, x = dense.tanh_net(), clean()
        doubles.identical_noise(monkeypatch)
        whole = self.rows(policy, x)
        for row in range(dense.BATCH):
            for one, two in zip(self.rows(policy, x[row : row + 1]), whole, strict=True):
                self._equal(one, two[row : row + 1])

    def test_rows_in_another_order_give_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With the same noise, permuted rows give the permuted result."""
        policy, x = dense.tanh_net(), clean()
        doubles.identical_noise(monkeypatch)
        order = torch.tensor([2, 0, 3, 1])
        for one, two in zip(self.rows(policy, x[order]), self.rows(policy, x), strict=True):
            self._equal(one, two[order])

    def _equal(self, one: Tensor, two: Tensor) -> None:
        torch.testing.assert_close(one, two, rtol=self.tolerance, atol=1e-12)

    def test_the_gradients_of_the_parameters_are_untouched(self) -> None:
        """``.grad`` and ``requires_grad`` of the parameters do not change."""
        policy = dense.tanh_net()
        first, last = doubles.linear(policy, 0), doubles.linear(policy, 2)
        first.weight.grad = torch.ones_like(first.weight)
        self.outcome(policy, seeded())
        assert bool((first.weight.grad == 1).all())
        assert last.weight.grad is None
        assert all(p.requires_grad for p in policy.parameters())

    def test_dropout_and_batch_statistics_do_not_disturb(self) -> None:
        """The policy is used in evaluation mode, and its own mode is restored."""
        net = dense.tanh_net()
        policy = doubles.with_dropout(net)
        norm = cast(Any, policy[1])
        mean = norm.running_mean.clone()
        noisy, plain = self.outcome(policy, seeded()), self.outcome(net, seeded())
        for one, two in zip(noisy, plain, strict=True):
            torch.testing.assert_close(one, two)
        assert torch.equal(norm.running_mean, mean)
        assert all(doubles.modes(policy))

    @pytest.mark.parametrize("calls", [0, 1])
    def test_modes_are_restored_after_an_error(self, calls: int) -> None:
        """The modes are restored even if the policy raises."""
        policy = doubles.FailingPolicy(calls)
        policy.net[1].eval()
        before = doubles.modes(policy)
        with contextlib.suppress(RuntimeError):
            self.outcome(policy, seeded())
        assert policy.calls < 0
        assert doubles.modes(policy) == before

    def test_a_missing_generator_is_refused(self) -> None:
        """The generator is never optional."""
        with pytest.raises(ValueError, match=r"generator is a NoneType; give torch\.Generator"):
            self.outcome(dense.tanh_net(), None)  # type: ignore[arg-type]
