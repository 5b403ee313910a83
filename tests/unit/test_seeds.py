"""Seeds of parts: the same everywhere, apart from each other, of 32 bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aajr._seeds import derive

SEEDS = st.integers(0, 2**64)
NAMES = st.lists(st.text(max_size=5) | st.integers(), min_size=1, max_size=4)


def test_the_values_are_fixed_for_all_platforms_and_versions():
    assert derive(0, "critic", 1) == 1711091611
    assert derive(7, "ε") == 2766181404


@given(SEEDS, NAMES)
def test_every_generator_takes_them(seed, names):
    value = derive(seed, *names)
    assert 0 <= value < 2**32
    assert torch.Generator().manual_seed(value).initial_seed() == value
    np.random.RandomState(value)  # refuses more than 32 bits


@given(st.tuples(SEEDS, NAMES), st.tuples(SEEDS, NAMES))
def test_different_parts_have_different_seeds(first, second):
    same = derive(first[0], *first[1]) == derive(second[0], *second[1])
    assert same is (first == second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((0, "a", "b"), (0, "ab")),
        ((0, "a", "b"), (0, "a', 'b")),
        ((0, 1), (0, "1")),
        ((0, 1), (1, 0)),
        ((1, 1), (11, 1)),
        ((0, "a"), (0, "a", "")),
    ],
)
def test_names_do_not_run_together(first, second):
    assert derive(*first) != derive(*second)


def test_every_bit_is_used():
    values = [derive(seed, "part") for seed in range(2000)]
    for bit in range(32):
        assert 850 < sum(value >> bit & 1 for value in values) < 1150


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, "a"), "seed=-1 is not allowed"),
        ((0,), r"names=\(\) would repeat seed=0"),
        ((0, 1.5), r"holds 1\.5; give words and whole numbers"),
        ((0, True), "holds True; give words and whole numbers"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        derive(*arguments)
