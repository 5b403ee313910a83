"""Global spectral penalty: a bound on the worst direction, taken or not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aajr._checks import check_count
from aajr._modes import Policy
from aajr.jacobian import Estimator, spectral_squared
from aajr.penalties._base import JacobianPenalty
from aajr.trajectory import Trajectory


@dataclass(frozen=True, eq=False, kw_only=True)
class Spectral(JacobianPenalty):
    r"""‖J‖₂² by power iteration on :math:`J^\top M J`.

    Attributes:
        iterations: power iterations per call.
        mask: input features to count; all by default.
        estimator: of J v.

    Source: Yoshida and Miyato, Spectral norm regularization, 2017,
    https://arxiv.org/abs/1705.10941.
    """

    iterations: int = 5
    mask: Tensor | None = None
    estimator: Estimator = "double_backward"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("iterations", self.iterations)

    def per_sample(
        self, policy: Policy, trajectory: Trajectory, generator: torch.Generator
    ) -> Tensor:
        """‖J‖₂², averaged over the points: ``[batch]``."""
        x = self.evaluation_points(trajectory)
        values = spectral_squared(
            policy,
            x.flatten(0, 1),
            generator,
            metric=self.metric,
            iterations=self.iterations,
            mask=self.mask,
            estimator=self.estimator,
        )
        return values.reshape(x.shape[:2]).mean(0)
