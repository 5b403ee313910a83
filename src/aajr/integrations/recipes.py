"""Recipes of robust training in a host's own loop; the command line reads them without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from aajr._settings import check_choice, check_count, check_number

MethodName = Literal["plain", "adversarial", "aajr", "random_direction", "global", "sa"]

ROLLOUT = 2048
"""Environment steps of one rollout of PPO."""

WEIGHTS: dict[MethodName, float] = {
    "aajr": 0.1,
    "global": 0.1,
    "random_direction": 0.3,
    "sa": 0.3,
}
"""λ of every penalty by default, tuned on no environment."""


@dataclass(frozen=True)
class Recipe:
    """How to train a robust agent with PPO, of Stable-Baselines3 or of :mod:`aajr.jax.ppo`.

    Attributes:
        env: name of a Gymnasium environment, or ``package.module:factory``.
        method: ``plain`` PPO; ``adversarial``, the loss of the policy at attacked observations; or
            a penalty with the loss at the true observations: ``aajr``, ``random_direction``,
            ``global`` (Frobenius) or ``sa`` (divergence at the worst point).
        eps: ε, in running standard deviations of the observation; for images in pixel levels.
        norm: norm of the perturbation.
        weight: λ of the penalty; None for the method's default.
        steps: environment steps of the whole run, rounded to whole rollouts for every part.
        seed: seed of the run.
        environments: environments that are stepped in parallel.
        segments: parts of the run, fewer if it has not so many rollouts; a killed run goes on after
            the last whole part.

    Raises:
        ValueError: a value out of range, or a weight for a method without a penalty.

    Example:
        >>> recipe = Recipe("Hopper-v5", eps=0.075, steps=10_000)
        >>> recipe.penalty_weight, recipe.parts, recipe.length
        (0.1, 4, 2048)
    """

    env: str
    method: MethodName = "aajr"
    eps: float = 0.1
    norm: Literal["linf", "l2"] = "linf"
    weight: float | None = None
    steps: int = 1_000_000
    seed: int = 0
    environments: int = 8
    segments: int = 20

    def __post_init__(self) -> None:
        check_choice("method", self.method, get_args(MethodName))
        check_choice("norm", self.norm, ("linf", "l2"))
        check_number("eps", self.eps, exclusive=self.method != "plain")
        check_count("environments", self.environments)
        check_count("segments", self.segments)
        check_count("steps", self.steps)
        check_count("seed", self.seed, minimum=0)
        if self.weight is not None:
            check_number("weight", self.weight)
            if self.method not in WEIGHTS:
                raise ValueError(
                    f"weight={self.weight} needs a penalty, but method={self.method!r} has none; "
                    f"choose one of {', '.join(WEIGHTS)}"
                )

    @property
    def penalty_weight(self) -> float:
        """λ."""
        return WEIGHTS.get(self.method, 0.0) if self.weight is None else self.weight

    @property
    def rows(self) -> int:
        """Environment steps of one rollout: :data:`ROLLOUT` in whole steps of all environments."""
        return max(1, ROLLOUT // self.environments) * self.environments

    @property
    def parts(self) -> int:
        """Number of segments: each has at least one rollout."""
        return max(1, min(self.segments, self.steps // self.rows))

    @property
    def length(self) -> int:
        """Environment steps of one segment, in whole rollouts."""
        return max(1, self.steps // self.parts // self.rows) * self.rows
