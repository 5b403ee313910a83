"""One answer's sensitivity: as the trainers penalise it, and exactly."""

import pytest
import torch

pytest.importorskip("trl")

from torch.nn.attention import SDPBackend, sdpa_kernel

from aajr.integrations.trl import Robustness, measuring
from aajr.integrations.trl._penalties import PENALTIES
from tests.unit.integrations.trl import hosts

PROMPT, ANSWER = [3, 4, 5, 6], [7, 8, 9]


def answer(step=1e-6):
    network = hosts.in_float64(hosts.model(attn_implementation="sdpa"))
    return measuring.one_answer(network, PROMPT, ANSWER, Robustness(weight=1.0, step=step))


def test_only_the_prompt_is_attacked_and_the_answer_scored():
    where = answer().where
    assert where.mask.tolist() == [[True] * 4 + [False] * 3]
    assert where.scored.tolist() == [[False] * 3 + [True] * 3 + [False]]


def test_the_direction_is_a_unit_of_the_prompt_with_gradients_off_too():
    with torch.no_grad():
        v = measuring.direction(answer())
    assert float(v.norm()) == pytest.approx(1.0)
    assert not v[0, len(PROMPT) :].any()


def test_the_penalty_is_measured_and_it_is_the_derivative():
    with sdpa_kernel(SDPBackend.MATH):
        at = answer()
        v = measuring.direction(at)
        value = measuring.sensitivity(at, v)
        assert torch.equal(value, PENALTIES["aajr"](answer()).value)
        exact = measuring.exact_sensitivity(at, v)
    assert float(value.detach()) == pytest.approx(float(exact.detach()), rel=1e-4)


def test_a_clean_branch_cut_off_keeps_the_value_and_loses_gradient():
    at = answer(step=1e-3)
    v = measuring.direction(at)
    whole, cut = measuring.sensitivity(at, v), measuring.sensitivity(at, v, detach=True)
    assert torch.equal(whole, cut)
    weight = at.parts.decoder.layers[0].mlp.down_proj.weight
    whole, cut = (torch.autograd.grad(value, weight)[0] for value in (whole, cut))
    assert float((whole - cut).norm()) > 0.01 * float(whole.norm())


def test_random_directions_come_one_after_the_other():
    at, again = answer(), answer()
    first, second = (float(measuring.random_sensitivity(at).detach()) for _ in range(2))
    assert first != second
    assert first == float(measuring.random_sensitivity(again).detach())
