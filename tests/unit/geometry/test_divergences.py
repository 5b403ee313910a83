"""Divergences keep their digits between near outputs, and leave masked actions out."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from aajr import (
    Ball,
    Categorical,
    DiagonalGaussian,
    Divergence,
    Euclidean,
    ProjectedGradientAscent,
    Reference,
    Square,
    StateAdversarial,
    Targeted,
)
from aajr.testing import dense
from tests import exact

INF = math.inf
seeds = st.integers(0, 2**32 - 1)
exponents = st.floats(-6, 0)


FAMILIES = [(Categorical(), exact.categorical), (DiagonalGaussian(), exact.gaussian)]
every_family = pytest.mark.parametrize(("metric", "oracle"), FAMILIES, ids=["logits", "gaussian"])


@every_family
@given(seed=seeds, exponent=exponents)
def test_divergence_and_gradient_are_right_from_a_millionth_to_one(metric, oracle, seed, exponent):
    u, w = exact.close_pair(seed, exponent)
    expected, slope = oracle(u, w)
    w.requires_grad_()
    value = metric.divergence(u, w)
    assert float(value.detach()) == pytest.approx(expected, rel=1e-4)
    (found,) = torch.autograd.grad(value.sum(), w)
    torch.testing.assert_close(found, slope, rtol=0, atol=1e-4 * float(slope.abs().max()))


@every_family
@given(seed=seeds, exponent=exponents)
def test_the_penalty_at_the_worst_point_is_as_accurate(metric, oracle, seed, exponent):
    u, w = exact.close_pair(seed, exponent)
    attack = ProjectedGradientAscent(Ball("linf", 10.0), steps=1)
    trajectory = attack(lambda x: x, u, torch.Generator().manual_seed(0))
    penalty = StateAdversarial(metric=metric, symmetric=True)
    value = penalty(lambda x: x, replace(trajectory, worst=w), torch.Generator().manual_seed(0))
    assert float(value) == pytest.approx(oracle(u, w)[0] + oracle(w, u)[0], rel=1e-4)


@pytest.mark.parametrize(
    ("u", "w"),
    [
        ([0.0, 0.0], [90.0, 0.0]),
        ([0.0, -200.0], [0.0, 200.0]),
        ([0.0, -30.0], [0.0, -10.0]),
        ([60.0, 0.0, -60.0], [-60.0, 3.0, 60.0]),
        ([5e3, -5e3, 0.0], [-5e3, 5e3, 0.0]),
        ([0.0, -20.0], [1e-3, -19.0]),
        ([7.0, 7.0, 8.0], [1007.0, 1007.0, 1008.0]),
    ],
)
def test_divergence_of_saturated_and_distant_logits(u, w):
    first, second = torch.tensor([u]), torch.tensor([w], requires_grad=True)
    expected, slope = exact.categorical(first, second.detach())
    value = Categorical().divergence(first, second)
    assert float(value.detach()) == pytest.approx(expected, rel=1e-4, abs=1e-38)
    (found,) = torch.autograd.grad(value.sum(), second)
    torch.testing.assert_close(found, slope, rtol=0, atol=1e-4 * float(slope.abs().max()))


@pytest.mark.parametrize("metric", dense.METRICS.values(), ids=dense.METRICS)
def test_first_and_second_derivatives_at_equal_outputs(metric):
    u = dense.inputs(1, dense.OUTPUTS, seed=4, dtype=torch.float32)
    for side in (0, 1):

        def value(w: Tensor, side: int = side) -> Tensor:
            pair = (u, w) if side else (w, u)
            return metric.divergence(*pair).sum()

        assert torch.equal(torch.func.grad(value)(u), torch.zeros_like(u))
        hessian = torch.func.hessian(value)(u).reshape(dense.OUTPUTS, dense.OUTPUTS)
        expected = dense.metric_matrix(metric, u)[0]
        torch.testing.assert_close(hessian, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("metric", dense.METRICS.values(), ids=dense.METRICS)
def test_divergences_differentiate_twice_everywhere(metric):
    u, w = (dense.inputs(2, dense.OUTPUTS, seed=s).requires_grad_() for s in (4, 5))
    assert torch.autograd.gradgradcheck(metric.divergence, (u, w))
    assert torch.autograd.gradcheck(metric.divergence, (u, w), check_forward_ad=True)


@pytest.mark.parametrize("metric", dense.METRICS.values(), ids=dense.METRICS)
def test_transforms_of_divergences_agree_with_autograd(metric):
    u, t = dense.inputs(3, dense.OUTPUTS, seed=4), dense.inputs(3, dense.OUTPUTS, seed=5)
    w = u + torch.tensor([[1e-6], [1e-2], [1.0]]) * t  # series and exponentials in one call

    def total(w: Tensor) -> Tensor:
        return metric.divergence(u, w).sum()

    each = torch.func.vmap(lambda a, b: metric.divergence(a[None], b[None])[0])
    torch.testing.assert_close(each(u, w), metric.divergence(u, w))
    expected = torch.autograd.functional.hessian(total, w)
    for outer, inner in itertools.product((torch.func.jacfwd, torch.func.jacrev), repeat=2):
        torch.testing.assert_close(outer(inner(total))(w), expected)
    leaf = w.clone().requires_grad_()
    value, rows = metric.divergence(u, leaf), torch.eye(3, dtype=w.dtype)
    (batched,) = torch.autograd.grad(value, leaf, rows, is_grads_batched=True)
    torch.testing.assert_close(batched.sum(0), torch.func.grad(total)(w))


def test_rows_of_one_call_do_not_touch_each_other():
    """A masked or distant row takes another path, and its neighbours keep their digits."""
    u, w = (
        torch.cat(rows)
        for rows in zip(*map(exact.close_pair, range(5), range(-6, -1)), strict=True)
    )
    other = torch.tensor([[-INF, 0.0, 1.0, 2.0, 3.0, 4.0], [99.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
    found = Categorical().divergence(torch.cat([u, other]), torch.cat([w, other.flip(1)]))
    expected = [exact.categorical(*pair)[0] for pair in zip(u, w, strict=True)]
    assert found[:5].tolist() == pytest.approx(expected, rel=1e-5)
    assert float(found[6]) == pytest.approx(99.0)


def test_the_searches_find_the_divergence_of_a_tiny_ball(generator):
    """At ε = 3e-4 the divergences are of the order 1e-8, below the rounding of one logit."""
    policy, ball = dense.tanh_net(dtype=torch.float32), Ball("linf", 3e-4)
    x, objective = dense.inputs(64, 5, dtype=torch.float32), Divergence(Categorical())
    double = dense.tanh_net().requires_grad_(False)
    corners = torch.cartesian_prod(*[torch.tensor([-3e-4, 3e-4], dtype=torch.float64)] * 5)
    clean = double(x.double())
    true = torch.stack(
        [Categorical().divergence(clean, double(x.double() + corner)) for corner in corners]
    ).amax(0)
    attacks = {
        "best of three": ProjectedGradientAscent(
            ball, objective, steps=10, restarts=3, select="best"
        ),
        "backtracking": ProjectedGradientAscent(
            ball, objective, steps=10, restarts=3, select="best", step_rule="backtracking"
        ),
        "square": Square(ball, objective, queries=200),
    }
    for name, attack in attacks.items():
        worst = attack(policy, x, generator).worst
        share = Categorical().divergence(clean, double(worst.double())) / true
        assert float(share.mean()) > 0.97, name  # ascent may end in a lesser corner


ALLOWED = torch.tensor([0, 1, 3, 4])
MASKED = torch.tensor([2, 5])
MASKABLE = {
    "euclidean": (Euclidean(), Euclidean()),
    "one head": (Categorical(), Categorical()),
    "two heads": (Categorical((3, 3)), Categorical((2, 2))),
}
every_maskable = pytest.mark.parametrize(
    ("metric", "smaller"), MASKABLE.values(), ids=MASKABLE.keys()
)


def masked(output: Tensor, entries: Tensor = MASKED) -> Tensor:
    return output.index_fill(-1, entries, -INF)


@every_maskable
def test_masked_actions_take_no_part_in_values_and_gradients(metric, smaller):
    """The oracle is the metric of the allowed actions alone."""
    u, w, t = (dense.inputs(3, 6, seed=s) for s in (4, 5, 6))
    weights = dense.inputs(3, 6, seed=7)
    measures = {
        "divergence": lambda m, u, w, t: m.divergence(u, w),
        "squared_norm": lambda m, u, w, t: m.squared_norm(u, t),
        "apply": lambda m, u, w, t: m.apply(u, t),
        "factor": lambda m, u, w, t: m.factor(u, t),
    }
    for name, measure in measures.items():
        leaves = [v.clone().requires_grad_() for v in (u, w, t)]
        found = measure(metric, masked(leaves[0]), masked(leaves[1]), leaves[2])
        small = [v[:, ALLOWED].clone().requires_grad_() for v in (u, w, t)]
        expected = measure(smaller, *small)
        if found.ndim == 2:
            assert not found[:, MASKED].any(), name
            found, expected = (found * weights).sum(1), (expected * weights[:, ALLOWED]).sum(1)
        torch.testing.assert_close(found, expected)
        for leaf, oracle in zip(leaves, small, strict=True):
            (slope,) = torch.autograd.grad(
                found.sum(), leaf, retain_graph=True, materialize_grads=True
            )
            (expected_slope,) = torch.autograd.grad(
                expected.sum(), oracle, retain_graph=True, materialize_grads=True
            )
            assert not slope[:, MASKED].any(), name
            torch.testing.assert_close(slope[:, ALLOWED], expected_slope)


def test_probabilities_of_masked_actions_are_zero():
    u = dense.inputs(3, 6)
    p = Categorical((3, 3)).probabilities(masked(u))
    assert not p[:, MASKED].any()
    torch.testing.assert_close(p[:, ALLOWED], Categorical((2, 2)).probabilities(u[:, ALLOWED]))
    log_p = Categorical((3, 3)).log_probabilities(masked(u))
    assert bool((log_p[:, MASKED] == -INF).all())
    torch.testing.assert_close(log_p.exp(), p)


@every_maskable
def test_what_only_the_second_output_masks_is_left_out(metric, smaller):
    u, w = dense.inputs(3, 6, seed=4), dense.inputs(3, 6, seed=5)
    expected = smaller.divergence(u[:, ALLOWED], w[:, ALLOWED])
    torch.testing.assert_close(metric.divergence(u, masked(w)), expected)


def test_what_only_the_first_output_masks_has_probability_zero_there():
    """The second output is charged for the probability it gives to those actions."""
    u, w = dense.inputs(3, 6, seed=4), dense.inputs(3, 6, seed=5).requires_grad_()
    p, log_q = masked(u).softmax(-1), w.log_softmax(-1)
    log_p = masked(u).log_softmax(-1).masked_fill(p == 0, 0.0)
    expected = (p * (log_p - log_q)).sum(-1)
    found = Categorical().divergence(masked(u), w)
    torch.testing.assert_close(found, expected)
    slopes = [torch.autograd.grad(value.sum(), w)[0] for value in (found, expected)]
    torch.testing.assert_close(*slopes)
    near = masked(u) + 1e-3
    leak = Categorical().divergence(masked(u), near.index_fill(-1, MASKED, -12.0))
    allowed = near[:, ALLOWED].exp().sum(-1)
    torch.testing.assert_close(leak, (2 * torch.tensor(-12.0).double().exp() / allowed).log1p())


def test_a_target_of_one_action_is_its_cross_entropy():
    target = torch.tensor([[-INF, 0.0, -INF]])
    output = torch.tensor([[1.0, 2.0, 3.0]])
    reference = Reference(output, output, {"target": target})
    loss = Targeted(Categorical())(output, reference)
    torch.testing.assert_close(loss, output.log_softmax(-1)[:, 1])


def test_a_small_probability_has_a_finite_gradient_in_the_factor():
    u = torch.tensor([[0.0, -200.0]], requires_grad=True)
    (slope,) = torch.autograd.grad(Categorical().factor(u, torch.ones(1, 2)).sum(), u)
    assert bool(slope.isfinite().all())


def test_a_head_without_any_action_gives_no_number():
    u = torch.tensor([[0.0, 1.0, -INF, -INF]])
    assert bool(Categorical((2, 2)).divergence(u, u).isnan().all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("metric", dense.METRICS.values(), ids=dense.METRICS)
def test_half_precision_is_computed_in_float32(metric, dtype):
    u, w = (dense.inputs(3, 6, seed=s).to(dtype) for s in (4, 5))
    raised = u.float(), w.float()
    assert torch.equal(metric.divergence(u, w), metric.divergence(*raised))
    assert torch.equal(metric.squared_norm(u, w), metric.squared_norm(*raised))
    for name in ("apply", "factor"):  # these are cotangents of the outputs
        found, expected = getattr(metric, name)(u, w), getattr(metric, name)(*raised)
        assert found.dtype == dtype
        torch.testing.assert_close(found, expected.to(dtype))
