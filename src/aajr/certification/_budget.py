"""The effort of an audit; the command line reads it without loading torch."""

from __future__ import annotations

from dataclasses import dataclass

from aajr._settings import check_count


@dataclass(frozen=True)
class AuditBudget:
    """The effort of an audit.

    Attributes:
        steps: steps of the gradient attack.
        restarts: random starts of the gradient attack for each of its two step sizes: ε/2, which
            finds maxima on the surface, and 2.5 ε / steps, which finds maxima inside.
        queries: queries of the black-box attack, and number of random draws.
        random_directions: number of directions for the sensitivity in random directions.
        radius_steps: bisection steps of the certified radius.
        batch_size: rows per batch in bound propagation; None for as many as fit 256 MiB.
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
