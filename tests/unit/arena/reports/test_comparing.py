"""Comparisons of two reports whose returns are given."""

import dataclasses

import numpy as np
import pytest

from aajr.arena.reports.comparing import compare
from tests.unit.arena.reports.made_reports import made

RETURNS = {
    ("none", 0.0): [100, 110, 90, 100, 105, 95, 102, 98],
    ("pgd_mad", 0.1): [40, 50, 30, 40, 45, 35, 42, 38],
    ("square", 0.1): [60, 70, 50, 60, 65, 55, 62, 58],
}


def shifted(by: float, *, only: str = "") -> dict:
    wobble = np.array([1, -1, 2, -2, 0, 0, 1, -1])
    return {
        cell: np.add(r, by + wobble) if only in cell[0] else np.array(r)
        for cell, r in RETURNS.items()
    }


def test_differences_are_paired_over_episodes():
    found = compare(made(RETURNS), made(shifted(20)))
    rows = {row.attack: row for row in found.rows}
    assert list(rows) == ["none", "pgd_mad", "square", "worst within ε"]
    assert (found.pairs, found.over) == (8, "episodes")
    assert rows["pgd_mad"].difference.estimate == -20
    assert rows["pgd_mad"].difference.high < -18
    assert rows["pgd_mad"].probability == 2 / 2**8
    assert rows["pgd_mad"].corrected == 3 * 2 / 2**8
    assert rows["none"].corrected is None
    assert all(row.sign == -1 for row in found.rows)


def test_a_verdict_needs_separation_after_the_correction():
    same = compare(made(RETURNS), made(shifted(0)))
    assert {row.verdict for row in same.rows} == {"not separated"}
    one = compare(made(shifted(20, only="square")), made(RETURNS))
    verdicts = {row.attack: row.verdict for row in one.rows}
    assert verdicts["square"] == "first is better"
    assert verdicts["pgd_mad"] == "not separated"
    assert verdicts["worst within ε"] == "not separated"


def test_the_worst_case_of_each_may_be_another_attack():
    other = RETURNS | {("square", 0.1): [20, 20, 20, 20, 20, 20, 20, 20]}
    worst = compare(made(RETURNS), made(other)).rows[-1]
    assert (worst.first, worst.second) == (40, 20)
    assert worst.difference.estimate == 20


def test_few_pairs_give_no_verdict():
    few = {cell: r[:4] for cell, r in RETURNS.items()}
    lower = {cell: np.subtract(r, 30) for cell, r in few.items()}
    found = compare(made(few), made(lower))
    assert {row.verdict for row in found.rows} == {"not separated"}
    assert any("needs at least 6" in note for note in found.table().notes)


def test_several_agents_are_paired_by_their_place():
    first = [shifted(k) for k in range(7)]
    second = [shifted(k - 5) for k in range(7)]
    found = compare(made(*first), made(*second))
    assert (found.pairs, found.over) == (7, "agents")
    assert {row.difference.estimate for row in found.rows} == {5.0}
    assert {row.sign for row in found.rows if row.attack == "none"} == {1}


def test_attacks_of_one_report_alone_are_named():
    fewer = {cell: r for cell, r in RETURNS.items() if cell[0] != "square"}
    found = compare(made(RETURNS), made(fewer))
    assert [row.attack for row in found.rows] == ["none", "pgd_mad", "worst within ε"]
    assert "Only one report has square." in found.table().notes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"environment": {"environment": "Hopper-v5"}}, "differ in environment"),
        ({"unit": "L2, raw"}, "differ in unit"),
        ({"seed": 3}, "differ in seed"),
        ({"suite": {"name": "agent-quick", "version": 2, "effort": {}}}, "the suite's version"),
        (
            {"suite": {"name": "agent-quick", "version": 1, "effort": {"steps": 9}}},
            "suite's effort",
        ),
        ({"epsilons": (0.05, 0.1)}, "differ in epsilons"),
        ({"ball": {"norm": "linf", "epsilon": 0.1, "features": (1,)}}, "differ in ball"),
    ],
)
def test_reports_must_differ_in_the_agents_alone(changes, message):
    first = made(RETURNS)
    with pytest.raises(ValueError, match=message):
        compare(first, dataclasses.replace(first, **changes))


def test_other_numbers_of_episodes_or_agents_are_refused():
    few = {cell: r[:4] for cell, r in RETURNS.items()}
    with pytest.raises(ValueError, match="differ in episodes"):
        compare(made(RETURNS), made(few))
    with pytest.raises(ValueError, match="one report has 1 agents, the other 2"):
        compare(made(RETURNS), made(RETURNS, RETURNS))
