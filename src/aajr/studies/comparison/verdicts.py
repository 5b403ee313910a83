"""Verdicts of the comparison as sentences, the same in the terminal, the plots and the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aajr.arena.threats import THREATS
from aajr.report.wording import difference, listed, percent, plural
from aajr.statistics.frontiers import Comparison, Verdict, verdict_of
from aajr.statistics.intervals import MINIMUM_SEEDS
from aajr.studies.comparison.analysis import SHARED_METHOD, SUBJECT, Analysis, without_penalty
from aajr.studies.methods import method_title

QUOTED = (
    "quoted: reported in a digest of the paper (arXiv 2603.04378) for another environment, not "
    "reproduced here; the paper's abstract reports no experiment"
)


CLAIMS = (("baseline", 62), ("global", 68), ("AAJR", 78))
"""Success in per cent in ten-agent hide-and-seek, as reported in a digest of the paper.

The paper's abstract reports no experiment, https://arxiv.org/abs/2603.04378.
"""


FALSE_ALARMS = {3: 25, 4: 20, 5: 16, 6: 14, 8: 11, 10: 10, 15: 8}
"""How often, in per cent, the 95 % interval excludes zero though the true mean is zero, by number
of seeds.

Each figure comes from 4000 draws of normal differences, with 1000 resamples.
"""


def epsilon_sentence(analysis: Analysis) -> str:
    """A sentence with the threat model and the unit of ε."""
    threat = THREATS[analysis.threat]
    return (
        f"Threat model '{analysis.threat}': the adversary changes {threat.words}; {threat.radius}."
    )


def comparison_sentence(
    comparison: Comparison, epsilon: float, corrected: Mapping[str, float]
) -> str:
    """A sentence with a frontier verdict, its numbers and its p after Holm's correction."""
    names = f"{method_title(comparison.first)} against {method_title(comparison.second)}"
    text = f"{names}: {comparison.verdict.value}"
    if comparison.reason:
        text += f" ({comparison.reason})"
    if comparison.difference is None or comparison.matched is None:
        return f"{text}."
    low, high = (percent(value) for value in comparison.matched)
    text += (
        f"; worst-case success at ε = {epsilon:g} differs by "
        f"{difference(comparison.difference)} points at matched clean success "
        f"({low if low == high else f'{low}–{high}'} %), "
        f"{plural(comparison.difference.seeds, 'seed')}, "
        f"weights per seed {comparison.weights[0]} and {comparison.weights[1]}"
    )
    if comparison.chance is not None and comparison.difference.seeds >= MINIMUM_SEEDS:
        text += f", sign-flip p = {comparison.chance:.2g}"
        if comparison.first == SUBJECT and comparison.second in corrected:
            text += f", after Holm's correction {corrected[comparison.second]:.2g}"
    if comparison.without_overlap:
        text += f"; no overlap in {plural(len(comparison.without_overlap), 'further seed')}"
    return f"{text}."


def conclusion(analysis: Analysis) -> list[str]:
    """The conclusions of the comparison; the first sentence says whether AAJR wins.

    AAJR wins if the interval excludes zero and the sign-flip p after Holm's correction is at most
    5 %.
    """
    found = [_frontier_conclusion(analysis), _attack_conclusion(analysis)]
    found += [_chance_caveat(analysis), _rank_caveat(analysis)]
    if len(analysis.comparisons) > 1:
        found.append(
            "Each 95 % interval is for one comparison alone; only the p-values are corrected for "
            "the number of comparisons."
        )
    return [sentence for sentence in found if sentence]


def _frontier_conclusion(analysis: Analysis) -> str:
    about = [item for item in analysis.comparisons if item.first == SUBJECT]
    if not about:
        return "No frontier of AAJR was compared, so there is no verdict on it."
    grouped = {
        verdict: [method_title(item.second) for item in about if item.verdict is verdict]
        for verdict in Verdict
    }
    phrases = {
        Verdict.ABOVE: "lies above {}",
        Verdict.BELOW: "lies below {}",
        Verdict.NOT_SEPARATED: "is not separated from {}",
        Verdict.NOT_COMPARABLE: "cannot be compared with {}",
    }
    told = [phrases[v].format(listed(names)) for v, names in grouped.items() if names]
    headline = _headline(about, analysis.corrected)
    return f"{headline}: at matched clean success its frontier {listed(told)}."


def _headline(about: Sequence[Comparison], corrected: Mapping[str, float]) -> str:
    above = [item for item in about if item.verdict is Verdict.ABOVE]
    wins = [item for item in above if corrected.get(item.second, 1.0) <= 0.05]
    if len(wins) == len(about):
        return "AAJR wins"
    if wins:
        names = listed([method_title(item.second) for item in wins])
        return (
            f"AAJR wins beyond chance against {names} alone, {len(wins)} of {len(about)} families"
        )
    return "AAJR does not win beyond chance" if above else "AAJR does not win"


def _attack_conclusion(analysis: Analysis) -> str:
    found = without_penalty(analysis)
    if found is None or found.worst is None:
        return ""
    verdict = verdict_of(found.worst)
    claim = {
        Verdict.ABOVE: "withstands attack better than",
        Verdict.BELOW: "withstands attack worse than",
        Verdict.NOT_SEPARATED: "is not separated under attack from",
    }[verdict]
    return (
        f"At its chosen weight AAJR {claim} the {SHARED_METHOD} method without a penalty: "
        f"{difference(found.worst)} points at ε = {analysis.epsilon:g}, "
        f"and {difference(found.clean)} points of clean success."
    )


def _chance_caveat(analysis: Analysis) -> str:
    intervals = [item.difference for item in analysis.comparisons]
    intervals += [found.worst for found in analysis.differences]
    seeds = [item.seeds for item in intervals if item is not None and item.low is not None]
    if not seeds or min(seeds) >= 20:
        return ""
    fewest = min(seeds)
    rate = FALSE_ALARMS[max(count for count in FALSE_ALARMS if count <= fewest)]
    text = (
        f"With {fewest} seeds such a 95 % bootstrap interval excludes zero by chance in about "
        f"{rate} % of cases, because it is too narrow"
    )
    if fewest < 6:
        return (
            f"{text}. The exact test cannot reach 5 % with so few seeds, so a difference that is "
            "reported here is only a hint."
        )
    return f"{text}: look at the sign-flip p, which is exact."


def _rank_caveat(analysis: Analysis) -> str:
    ranks = [summary.average("diagnostics", "stable_rank") for summary in analysis.summaries]
    low = [rank for rank in ranks if rank is not None and rank < 2]
    if not low:
        return ""
    return (
        f"The stable rank of the Jacobian is below 2 for {len(low)} of {len(ranks)} methods "
        f"(lowest {min(low):.1f}): there a directional penalty cannot differ much from a global "
        "one."
    )
