"""An adversary with another ball or another radius."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import is_dataclass, replace
from typing import Any

from aajr.adversaries._base import Adversary
from aajr.adversaries._estimated import EstimatedAscent
from aajr.adversaries._pgd import ProjectedGradientAscent
from aajr.geometry import Ball


def with_ball(adversary: Adversary, change: Callable[[Ball], Ball]) -> Adversary:
    """The adversary with another ball; unchanged if it has no ball or ``change`` keeps it.

    For an adversary around another one, such as :class:`aajr.AttackOn`, the inner ball changes.
    """
    ball, inner = getattr(adversary, "ball", None), getattr(adversary, "adversary", None)
    known: Any = adversary
    if isinstance(inner, Adversary) and is_dataclass(adversary):
        changed = with_ball(inner, change)
        return adversary if changed is inner else replace(known, adversary=changed)
    if not isinstance(ball, Ball) or not is_dataclass(adversary):
        return adversary
    other = change(ball)
    return adversary if other is ball else replace(known, ball=other)


def with_epsilon(adversary: Adversary, epsilon: float) -> Adversary:
    """The same search within another radius; a ``step_size`` in the input's unit is scaled too.

    Args:
        adversary: one whose threat set is a :class:`aajr.Ball`, or one around such an adversary.
        epsilon: the radius.

    Returns:
        A new adversary; the same one if it has this radius already.

    Raises:
        ValueError: an adversary without a ball, a negative radius.

    Example:
        >>> search = ProjectedGradientAscent(Ball("linf", 0.2), step_size=0.1)
        >>> half = with_epsilon(search, 0.1)
        >>> half.ball.epsilon, half.step_size
        (0.1, 0.05)
    """
    ball, inner = getattr(adversary, "ball", None), getattr(adversary, "adversary", None)
    known: Any = adversary
    if isinstance(inner, Adversary) and is_dataclass(adversary):
        narrowed = with_epsilon(inner, epsilon)
        return adversary if narrowed is inner else replace(known, adversary=narrowed)
    if not isinstance(ball, Ball) or not is_dataclass(adversary):
        raise ValueError(
            f"adversary={type(adversary).__name__} has no ball whose radius epsilon={epsilon} "
            "could set; give for instance ProjectedGradientAscent(Ball('linf', 0.1))"
        )
    if epsilon == ball.epsilon:
        return adversary
    changes: dict[str, Any] = {"ball": ball.with_epsilon(epsilon)}
    in_units = isinstance(adversary, ProjectedGradientAscent | EstimatedAscent)
    if in_units and known.step_size is not None and ball.epsilon > 0 and epsilon > 0:
        changes["step_size"] = epsilon * (known.step_size / ball.epsilon)
    return replace(known, **changes)
