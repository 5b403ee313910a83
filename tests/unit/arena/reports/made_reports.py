"""Reports with given returns, which no agent played."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aajr.arena.records.evaluation import Assessment, Score, Trial
from aajr.arena.reports.report import Check, Examined, Report

Returns = Mapping[tuple[str, float], Sequence[float]]
KINDS = {"none": "none", "noise": "noise", "square": "black_box", "dropped": "structured"}


def trial(attack: str, epsilon: float, returns: Sequence[float], won_from: float) -> Trial:
    won = "".join(str(int(r >= won_from)) for r in returns)
    score = Score(
        attack,
        epsilon,
        success=won.count("1") / len(won),
        episodes=len(won),
        mean_return=sum(returns) / len(returns),
        largest_perturbation=epsilon,
    )
    return Trial(
        score=score,
        kind=KINDS.get(attack, "gradient"),
        unit="L∞, raw",
        fixed=attack == "dropped",
        won=won,
        forward_passes=1.0,
        backward_passes=0.0,
        returns=tuple(map(float, returns)),
    )


def made(*agents: Returns, won_from: float = 100.0, source: str = "agent.zip", **facts) -> Report:
    """A report of agents from their returns by attack and ε."""
    examined = tuple(
        Examined(
            assessment=Assessment(
                checkpoint=source,
                method="agent",
                seed=index,
                trials=tuple(trial(*cell, values, won_from) for cell, values in one.items()),
            ),
            checks=(Check(name="the ball", held=True, words="1.0000 of ε"),),
            random_returns=(5.0, 5.0),
        )
        for index, one in enumerate(agents)
    )
    radii = sorted({e for one in agents for name, e in one if name not in ("none", "dropped")})
    episodes = len(next(iter(agents[0].values())))
    whole = {
        "unit": "L∞, raw",
        "environment": {"environment": "CartPole-v1"},
        "ball": {
            "norm": "linf",
            "epsilon": max(radii),
            "features": None,
            "scale": None,
            "low": None,
            "high": None,
        },
        "suite": {"name": "agent-quick", "version": 1, "effort": {"steps": 5}},
        "epsilons": tuple(radii),
        "episodes": episodes,
        "seed": 0,
        "wins": True,
        "threshold": won_from,
    }
    return Report(agents=examined, **whole | facts)
