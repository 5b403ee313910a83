"""Schedules: ends, monotony, bounds."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aajr import Cosine, Linear, PerformanceCurriculum

value = st.floats(0, 10)
updates = st.integers(1, 50)


@given(st.sampled_from([Linear, Cosine]), value, value, updates)
def test_schedules_go_from_start_to_end_and_stay(kind, start, end, count):
    schedule = kind(start, end, updates=count)
    values = [schedule(update) for update in range(count + 5)]
    assert values[0] == start
    assert values[count:] == [pytest.approx(end, abs=1e-9)] * 5
    sign = 1 if end >= start else -1
    assert all(sign * (b - a) >= -1e-9 for a, b in itertools.pairwise(values))
    assert values[0] + values[count] == pytest.approx(start + end, abs=1e-9)


@given(value, value, updates)
def test_both_schedules_are_point_symmetric(start, end, count):
    for kind in (Linear, Cosine):
        schedule = kind(start, end, updates=2 * count)
        assert schedule(count) == pytest.approx((start + end) / 2, abs=1e-9)
        pair = schedule(count // 2) + schedule(2 * count - count // 2)
        assert pair == pytest.approx(start + end, abs=1e-9)


def test_the_cosine_starts_and_ends_gently():
    line, wave = Linear(0.0, 1.0, updates=100), Cosine(0.0, 1.0, updates=100)
    assert wave(10) < line(10) / 2
    assert 1 - wave(90) < (1 - line(90)) / 2
    assert wave(25) == pytest.approx((1 - 0.5**0.5) / 2)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 0.5), st.lists(st.floats(0, 1)))
def test_the_curriculum_stays_in_its_bounds_and_moves_with_performance(low, width, step, history):
    curriculum = PerformanceCurriculum(low, low + width, step, raise_above=0.7, lower_below=0.4)
    present = low
    for performance in history:
        following = curriculum.advance(present, performance)
        assert low <= following <= low + width
        assert abs(following - present) <= step + 1e-12
        rises, falls = performance >= 0.7, performance < 0.4
        if not rises:
            assert following <= present
        if not falls:
            assert following >= present
        present = following


def test_the_curriculum_step_by_step():
    curriculum = PerformanceCurriculum(0.25, 1.0, 0.5, raise_above=0.75, lower_below=0.5)
    values = [0.25]
    for performance in (0.75, 0.625, 1.0, 0.5, 0.25, 0.0):
        values.append(curriculum.advance(values[-1], performance))
    assert values == [0.25, 0.75, 0.75, 1.0, 1.0, 0.5, 0.25]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Linear(-0.1, 1.0, 5), r"start=-0\.1 is not allowed"),
        (lambda: Linear(0.1, float("inf"), 5), "end=inf is not allowed"),
        (lambda: Cosine(0.1, 1.0, 0), "updates=0 is not allowed"),
        (lambda: PerformanceCurriculum(0.5, 0.1, 0.1, 0.7, 0.5), r"end=0\.1 is not allowed"),
        (lambda: PerformanceCurriculum(0.0, 0.1, 0.0, 0.7, 0.5), r"step=0\.0 is not allowed"),
        (
            lambda: PerformanceCurriculum(0.0, 0.1, 0.1, raise_above=0.5, lower_below=0.7),
            r"lower_below=0\.7 exceeds raise_above=0\.5; swap them",
        ),
        (
            lambda: PerformanceCurriculum(0.0, 0.1, 0.1, 0.7, 0.5).advance(0.0, float("nan")),
            "performance=nan is not allowed; give a finite number",
        ),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
