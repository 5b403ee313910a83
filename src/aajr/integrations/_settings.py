"""The settings that all hosts share: adversary, penalty, λ and ε."""

from __future__ import annotations

from dataclasses import dataclass

from aajr.adversaries import Adversary, Divergence, ProjectedGradientAscent
from aajr.geometry import Ball, Metric
from aajr.minimax import Minimax
from aajr.penalties import Penalty
from aajr.schedules import Schedule


@dataclass(frozen=True, eq=False)
class RobustSettings:
    """An adversary and a penalty for one policy of a host.

    Attributes:
        adversary: the inner maximisation; a :class:`aajr.Ball` means projected gradient
            ascent on the policy's divergence in that ball. ε has the unit of the policy's input.
        penalty: the sensitivity that is penalised; a class means its instance in the metric of
            the policy's actions; None for adversarial training alone.
        weight: λ, a number, a schedule of the minibatch update, or :class:`aajr.DualAscent`.
        epsilon: ε in place of the ball's own, a number or a schedule of the minibatch update.
        seed: seed of the adversary and the penalty.

    Raises:
        ValueError: ``adversary`` is neither an adversary nor a ball.
    """

    adversary: Adversary | Ball
    penalty: Penalty | type[Penalty] | None = None
    weight: float | Schedule = 1.0
    epsilon: float | Schedule | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.adversary, Adversary | Ball):
            raise ValueError(
                f"adversary={self.adversary!r} is no adversary; give for instance "
                "aajr.Ball('linf', 0.1)"
            )

    def minimax(self, metric: Metric) -> Minimax:
        """Adversary and penalty for a policy of this metric, without the host's task loss."""
        return Minimax(
            adversary_of(self.adversary, metric),
            penalty_of(self.penalty, metric),
            weight=self.weight,
            epsilon=self.epsilon,
            placement="clean",
            seed=self.seed,
        )


def adversary_of(adversary: Adversary | Ball, metric: Metric) -> Adversary:
    """The adversary itself; for a ball, projected gradient ascent on the divergence."""
    if isinstance(adversary, Ball):
        return ProjectedGradientAscent(adversary, Divergence(metric))
    return adversary


def penalty_of(penalty: Penalty | type[Penalty] | None, metric: Metric) -> Penalty | None:
    """The penalty itself; for a class, its instance in the policy's metric."""
    return penalty(metric=metric) if isinstance(penalty, type) else penalty
