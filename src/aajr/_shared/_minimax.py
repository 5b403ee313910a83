"""The inputs at which robust training computes the task loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

from aajr._settings import check_choice, check_number

Placement = Literal["clean", "adversarial", "mixed"]


def check_placement(placement: Placement, attack_fraction: float) -> None:
    """Raise ValueError if the placement needs x + δ* for rows that are not attacked."""
    check_choice("placement", placement, get_args(Placement))
    check_number("attack_fraction", attack_fraction, exclusive=True, maximum=1.0)
    if attack_fraction < 1 and placement != "clean":
        raise ValueError(
            f"attack_fraction={attack_fraction} leaves rows without x + δ*, where "
            f"placement={placement!r} takes the task loss; use 1.0 or placement='clean'"
        )


def placed_loss(
    placement: Placement, policy: Callable[[Any], Any], x: Any, worst: Any, task: Any
) -> Any:
    """The task loss at x, at x + δ* or the mean of both."""
    if placement == "clean":
        return task(policy(x))
    attacked = task(policy(worst))
    if placement == "adversarial":
        return attacked
    return (attacked + task(policy(x))) / 2
