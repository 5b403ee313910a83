"""How hard an audit tries; the command line reads it without loading torch."""

from __future__ import annotations

from dataclasses import dataclass

from aajr._settings import check_count


@dataclass(frozen=True)
class AuditBudget:
    """How hard the audit tries.

    Attributes:
        steps: of the gradient attack.
        restarts: of the gradient attack, from random starts, for each of its two step sizes: ε/2,
            which finds the surface's maxima, and 2.5 ε / steps, which finds those inside.
        queries: of the black-box attack, and of the random draws.
        random_directions: for the sensitivity in random directions.
        radius_steps: bisection steps of the certified radius.
        batch_size: rows of bound propagation at once; None for as many as fit 256 MiB.
    """

    steps: int = 20
    restarts: int = 10
    queries: int = 400
    random_directions: int = 16
    radius_steps: int = 12
    batch_size: int | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "restarts", "queries", "random_directions", "radius_steps"):
            check_count(name, getattr(self, name))
