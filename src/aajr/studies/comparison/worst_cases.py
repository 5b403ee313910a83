"""The worst attack on a run, and the run in the middle."""

from __future__ import annotations

from collections.abc import Sequence

from aajr.studies.comparison.records import Run


def worst_case(run: Run) -> dict[float, float]:
    """Lowest success over the attacks at each radius, in rising order; radius 0 is clean.

    Example:
        >>> from aajr.arena.records import Score
        >>> played = {"episodes": 500, "mean_return": 1.0}
        >>> scores = (Score("none", 0.0, success=0.8, **played),
        ...           Score("noise", 0.1, success=0.7, **played),
        ...           Score("mad", 0.1, success=0.6, **played))
        >>> worst_case(Run(method="plain", seed=0, split="final", threat="full", scores=scores))
        {0.0: 0.8, 0.1: 0.6}
    """
    radii = sorted({float(score.epsilon) for score in run.scores})
    return {
        radius: min(score.success for score in run.scores if score.epsilon == radius)
        for radius in radii
    }


def worst_attack(run: Run, epsilon: float) -> str | None:
    """Name of the attack that left the lowest success at ``epsilon``; None without a score."""
    scores = [score for score in run.scores if score.epsilon == epsilon]
    return min(scores, key=lambda score: score.success).attack if scores else None


def median_agent(runs: Sequence[Run], epsilon: float) -> Run | None:
    """The run of median worst-case success at ``epsilon``: an agent that exists, not a mean.

    Of an even number the lower of the two in the middle is taken. Runs without a score at
    ``epsilon`` are left out; None if none is left.
    """
    scored = [run for run in runs if epsilon in worst_case(run)]
    ranked = sorted(scored, key=lambda run: (worst_case(run)[epsilon], run.seed))
    return ranked[(len(ranked) - 1) // 2] if ranked else None
