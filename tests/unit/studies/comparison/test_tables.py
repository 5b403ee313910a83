import dataclasses
import re

import numpy as np
import pytest
from rich.console import Console

from aajr.arena.records.evaluation import Score
from aajr.report import wording
from aajr.statistics.comparisons import holm
from aajr.statistics.frontiers import Verdict, verdict_of
from aajr.statistics.intervals import Interval
from aajr.studies.comparison import verdicts
from aajr.studies.comparison.analysis import analyse
from aajr.studies.comparison.records import Results, Run
from aajr.studies.comparison.tables import render_table, reward_table, tables
from aajr.studies.methods import method_title
from tests.unit.studies.comparison.synthetic_results import make_results, make_run

METHODS = (
    "global_attackable",
    "random_direction",
    "aajr_gradient",
    "random_weighted",
    "spectral",
    "sa",
    "ernie",
)


def text_of(results):
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(render_table(results, analyse(results)))
        return console.export_text()


def flat(results):
    return " ".join(text_of(results).split())


@pytest.fixture(scope="module")
def printed():
    return text_of(make_results())


@pytest.fixture(scope="module")
def everything():
    results = make_results(seeds=6)
    more = tuple(
        make_run(name, seed, 0.68, 1.0, family=name, weight=0.125, noise=0.3)
        for name in METHODS
        for seed in range(6)
    )
    return dataclasses.replace(results, runs=results.runs + more)


def test_legible_at_a_hundred_columns(everything):
    text = text_of(everything)
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    for name in METHODS:
        assert method_title(name) in text


def test_figures_of_the_digest_are_marked_as_quoted(printed):
    for figure in ("62†", "68†", "78†"):
        assert figure in printed
    joined = " ".join(printed.split())
    assert "reported in a digest of the paper (arXiv" in joined
    assert "the paper's abstract reports no experiment" in joined
    assert "arXiv 2603.04378" in joined
    assert "not reproduced" in joined


def test_figures_of_a_row_by_hand():
    scores = {0: (0.5, 0.3), 1: (0.6, 0.4), 2: (0.7, 0.2)}
    runs = tuple(
        Run(
            method="aajr",
            seed=seed,
            split="final",
            threat="full",
            weight=0.1,
            scores=(
                Score("none", 0.0, success=clean, episodes=500, mean_return=0.0),
                Score(
                    "mad",
                    0.2,
                    success=worst + 0.05 * (seed == 1),
                    episodes=500,
                    mean_return=0.0,
                    changed_actions=0.25,
                    largest_perturbation=0.2,
                ),
                Score(
                    "critic_0",
                    0.2,
                    success=worst + 0.05 * (seed != 1),
                    episodes=500,
                    mean_return=0.0,
                    changed_actions=0.5,
                    largest_perturbation=0.1,
                ),
            ),
            seconds_per_update=0.001 * (seed + 1),
            overhead=1 + 0.01 * seed,
        )
        for seed, (clean, worst) in scores.items()
    )
    results = Results(preset="smoke", runs=runs)
    (analysis,) = analyse(results)
    success, *_, cost = tables(results, analysis)
    assert success.rows[0] == ("AAJR", "0.1", "3", "60\n50–70", "30\n20–40", "30")
    assert cost.rows[0] == ("AAJR", "2.00", "+1.0 %", "–", "mad", "50 %", "1.00", "–")


def test_epsilon_has_a_unit_and_the_threat_a_name(printed):
    joined = " ".join(printed.split())
    assert "Threat model 'others'" in joined
    assert "L∞ radius in units of the observation" in joined
    actions = make_results(seeds=1)
    runs = tuple(dataclasses.replace(run, threat="actions") for run in actions.runs)
    assert "in units of the action" in flat(dataclasses.replace(actions, runs=runs))


@pytest.mark.parametrize(
    ("lift", "first"),
    [
        (0.05, "AAJR wins: at matched clean success its frontier lies above global."),
        (-0.05, "AAJR does not win: at matched clean success its frontier lies below global."),
        (0.0, "AAJR does not win: at matched clean success its frontier is not separated"),
    ],
)
def test_the_conclusion_says_who_wins(lift, first):
    assert first in flat(make_results(seeds=6, lift=lift, noise=0.0))


def test_a_win_against_some_is_not_a_win(everything):
    (analysis,) = analyse(everything)
    sentence = verdicts.conclusion(analysis)[0]
    assert re.match(r"AAJR wins beyond chance against [\w ]+ alone, 1 of 8 families:", sentence)
    assert "cannot be compared with global attackable, random direction" in sentence


def test_holm_corrects_the_primary_rivals_together_and_the_others_too():
    results = dataclasses.replace(make_results(seeds=6), primary=("adversarial", "global"))
    (analysis,) = analyse(results)
    (frontier,) = analysis.comparisons
    pairs = {pair.rival: pair.chance for pair in analysis.differences}
    primary = {"adversarial": pairs["adversarial"], "global": frontier.chance}
    assert analysis.corrected == holm(primary) | holm({"plain": pairs["plain"]})
    (alone,) = analyse(dataclasses.replace(results, primary=()))
    assert alone.corrected["global"] == frontier.chance


def test_the_rewards_are_the_lowest_of_each_radius():
    run = make_run("aajr", 0, 0.8, 1.0)
    assert not reward_table(*analyse(Results(preset="x", runs=(run,)))).rows
    shares = tuple(0.9 - 0.01 * index for index in range(len(run.scores)))
    run = dataclasses.replace(run, hidden=shares, diagnostics={"silenced": 0.46})
    (row,) = reward_table(*analyse(Results(preset="x", runs=(run,)))).rows
    assert row[2].split("\n") == ["0.90", "+8.00"]
    last = [s for s in run.scores if s.epsilon == 0.3]
    assert row[-2].split("\n") == [f"{shares[-1]:.2f}", f"{min(s.mean_return for s in last):+.2f}"]
    assert row[-1] == "46"
    with pytest.raises(ValueError, match="hidden holds 1 shares"):
        dataclasses.replace(run, hidden=(0.5,))


def test_five_seeds_give_a_hint_and_no_win():
    text = flat(make_results(seeds=5))
    assert (
        "AAJR does not win beyond chance: at matched clean success its frontier lies above" in text
    )
    assert "excludes zero by chance in about 16 % of cases" in text
    assert "is only a hint" in text
    assert "is only a hint" not in flat(make_results(seeds=6))


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_false_alarm_rates_are_those_of_the_bootstrap(seeds):
    rng = np.random.default_rng(1)
    differences = rng.standard_normal((2000, seeds))
    means = differences[:, rng.integers(0, seeds, (500, seeds))].mean(-1)
    low, high = np.quantile(means, (0.025, 0.975), axis=1)
    rate = 100 * ((low > 0) | (high < 0)).mean()
    assert rate == pytest.approx(verdicts.FALSE_ALARMS[seeds], abs=2.5)


def test_stable_rank_caveat_follows_the_rank():
    results = make_results(seeds=3)
    assert "below 2 for 4 of 4 methods (lowest 1.4)" in flat(results)
    high = {"stable_rank": 3.0, "alignment": 0.1}
    runs = tuple(dataclasses.replace(run, diagnostics=high) for run in results.runs)
    assert "no directional penalty" not in flat(dataclasses.replace(results, runs=runs))


def test_single_seed_and_empty_results():
    single = flat(make_results(seeds=1))
    assert "[not estimated]" in single
    assert "AAJR does not win" in single
    assert "The method with the fewest seeds has 1" in single
    assert "No run was finished" in flat(Results(preset="smoke"))


def test_scope_is_printed(printed):
    assert "What this preset can and cannot show" in printed
    assert "nothing about any method" in printed


def test_markup_in_names_is_printed_as_it_is():
    run = make_run("[bold]x[/bold]", 0, 0.5, 0.1)
    assert "[bold]x[/bold]" in text_of(Results(preset="[red]", runs=(run,), scope="[link=x]"))


def edited(score_edit=None, **run_edit):
    results = make_results(seeds=3)
    runs = []
    for run in results.runs:
        scores = run.scores
        if score_edit and run.method == "aajr":
            scores = tuple(dataclasses.replace(score, **score_edit(score)) for score in scores)
        runs.append(dataclasses.replace(run, scores=scores, **run_edit))
    return dataclasses.replace(results, runs=tuple(runs))


@pytest.mark.parametrize(
    ("results", "warning"),
    [
        (edited(lambda score: {"changed_actions": 0.0}), "No attack changed any action of aajr"),
        (edited(lambda score: {"largest_perturbation": 0.9}), "An attack left its ball: aajr"),
        (edited(lambda score: {"episodes": 40}), "a mean over 40 episodes"),
        (edited(lambda score: {"attack": "mad2"} if score.attack == "mad" else {}), "not attacked"),
        (edited(split="validation"), "There are no final seeds"),
        (edited(selected=False), "No weight of aajr is marked as selected"),
        (
            edited(lambda score: {"epsilon": 0.21} if score.epsilon == 0.2 else {}),
            "no score at ε = 0 or at the reference ε = 0.2",
        ),
    ],
)
def test_what_speaks_against_trust_is_said(results, warning):
    assert warning in flat(results)
    assert warning not in flat(make_results(seeds=3))


def test_final_rows_and_the_frontier_use_their_own_seeds():
    """The grid ran on validation seeds only: the frontier is theirs, the rows are final."""
    grid = [dataclasses.replace(r, split="validation") for r in make_results(seeds=4).runs]
    final = [
        dataclasses.replace(run, seed=run.seed + 10)
        for run in make_results(seeds=3).runs
        if run.selected or run.family is None
    ]
    (analysis,) = analyse(Results(preset="smoke", runs=(*grid, *final)))
    assert (analysis.split, analysis.frontier_split) == ("final", "validation")
    assert {run.seed for summary in analysis.summaries for run in summary.runs} == {10, 11, 12}
    assert analysis.comparisons[0].difference.seeds == 4


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0.00"),
        (1.234, "1.23"),
        (123.4, "123"),
        (2.5e-7, "2.50e-7"),
        (4e8, "4.00e8"),
    ],
)
def test_numbers(value, text):
    assert wording.number(value) == text


def test_differences_and_verdicts():
    assert wording.difference(Interval(-0.0001, -0.02, 0.03, 5)) == "0.0 [−2.0, +3.0]"
    assert wording.difference(None) == "–"
    assert verdict_of(None) is Verdict.NOT_COMPARABLE
    assert verdict_of(Interval(0.1, 0.05, 0.2, 5)) is Verdict.ABOVE
    assert method_title("aajr_gradient") == "AAJR gradient"


def test_runs_with_fewer_radii_are_attacked_alike_where_they_share_one():
    from aajr.arena.records.evaluation import Score
    from aajr.studies.comparison.analysis import _attacked_alike
    from aajr.studies.comparison.records import Run

    def run(*scores):
        made = tuple(
            Score(name, radius, success=0.5, episodes=500, mean_return=0.0)
            for name, radius in scores
        )
        return Run(method="plain", seed=0, split="final", threat="full", scores=made)

    chosen = run(("none", 0.0), ("mad", 0.1), ("mad", 0.2))
    other = run(("none", 0.0), ("mad", 0.2))
    assert _attacked_alike([chosen, other])
    assert not _attacked_alike([chosen, run(("none", 0.0), ("noise", 0.2))])
