"""Worst cases, findings and pages of reports whose returns are given."""

import re

import numpy as np
import pytest

from tests.unit.arena.reports.made_reports import made

FALLEN = {
    ("none", 0.0): [100, 110, 90, 100],
    ("noise", 0.1): [99, 109, 89, 99],
    ("noise", 0.2): [98, 108, 88, 98],
    ("pgd_mad", 0.1): [40, 50, 30, 40],
    ("pgd_mad", 0.2): [45, 55, 35, 45],
    ("square", 0.1): [60, 70, 50, 60],
    ("square", 0.2): [20, 30, 10, 20],
    ("dropped", 2.0): [1, 1, 1, 1],
}


def test_the_worst_case_is_the_least_mean_return_in_the_ball():
    worst = made(FALLEN).worst
    assert (worst.attack, worst.epsilon, worst.mean_return.estimate) == ("square", 0.2, 20)
    assert worst.success == 0
    assert made(FALLEN).worst_within(0.1).attack == "pgd_mad"
    assert made(FALLEN).worst_within(0.19).epsilon == 0.1
    assert made(FALLEN).worst_within(0.05).attack == "none"


def test_radii_beyond_the_ball_do_not_count():
    report = made(FALLEN)
    ball = {**report.ball, "epsilon": 0.1}
    assert made(FALLEN, ball=ball).worst.attack == "pgd_mad"


def test_intervals_are_over_episodes_of_one_agent_and_over_several_agents():
    one = made(FALLEN).mean_return("noise", 0.1)
    assert one.seeds == 4
    assert one.low < one.estimate == 99 < one.high
    shifted = [{cell: np.add(r, 10 * k) for cell, r in FALLEN.items()} for k in range(3)]
    many = made(*shifted).mean_return("noise", 0.1)
    assert (many.seeds, many.estimate, many.low, many.high) == (3, 109, 99, 119)
    assert made(*shifted[:2]).mean_return("noise", 0.1).low is None


def test_findings_name_the_fall_the_noise_and_masked_gradients():
    first, noise, masked = made(FALLEN).findings
    assert first == (
        "Within ε = 0.2 (L∞, raw) the mean return falls from 100 to 20.0, by 80%, under square."
    )
    assert "Uniform noise of the same size leaves 98.0" in noise
    assert masked.startswith("square beats every gradient attack at ε = 0.2")


def test_a_fall_that_rounding_hides_is_given_by_its_size():
    returns = {("none", 0.0): [-1310.4, -1310.4], ("noise", 0.1): [-1310.41, -1310.41]}
    assert "falls from -1310 by 0.0100, under noise" in made(returns).findings[0]


def test_an_attack_that_only_seems_worse_by_chance_is_no_fall():
    returns = {
        ("none", 0.0): [100, 110, 90, 100, 100, 100],
        ("pgd_mad", 0.1): [101, 103, 96, 93, 105, 99],
    }
    (first,) = made(returns).findings
    assert made(returns).worst.attack == "pgd_mad"
    assert first.startswith("No attack of this suite lowered the return within ε = 0.1")


def test_a_floor_that_the_worst_case_reaches_is_named():
    low = FALLEN | {("square", 0.2): [5, 5, 4, 4]}
    assert any("no better than uniformly random actions (5.00)" in f for f in made(low).findings)
    poor = {("none", 0.0): [3, 4], ("noise", 0.1): [3, 4]}
    assert any("nothing for an attack to take" in f for f in made(poor).findings)


def test_success_is_shown_only_where_episodes_can_be_won():
    with_wins, without = (str(made(FALLEN, wins=wins)) for wins in (True, False))
    assert "% won" in with_wins
    assert "% won" not in without


def test_a_page_holds_every_figure_and_escapes_every_string(tmp_path):
    report = made(FALLEN, source="<script>alert(1)</script>", left_out={"cma_es": "a < b"})
    text = report.save(tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "a &lt; b" in text
    assert text.count("data:image/svg+xml;base64,") == 2
    for words in (
        "pgd_mad",
        "worst within ε",
        "20.0",
        "proves nothing",
        "agent-quick",
        "1.0000 of",
    ):
        assert words in text
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    assert report.save(tmp_path / "again.html").read_bytes() == text.encode()


def test_a_page_without_wins_has_one_plot(tmp_path):
    page = made(FALLEN, wins=False, threshold=None).save(tmp_path / "page.html")
    assert page.read_text(encoding="utf-8").count("data:image/svg+xml;base64,") == 1


def test_several_agents_of_which_one_attack_failed_on_one():
    other = {cell: r for cell, r in FALLEN.items() if cell != ("square", 0.2)}
    report = made(FALLEN, other)
    assert report.estimate("square", 0.2) == 20
    assert len(report.trials("square", 0.2)) == 1
    assert (report.worst.attack, report.worst.epsilon) == ("pgd_mad", 0.1)
    assert str(report)


def test_a_report_needs_an_agent():
    with pytest.raises(ValueError, match="agents"):
        made(FALLEN).__class__(**vars(made(FALLEN)) | {"agents": ()})
