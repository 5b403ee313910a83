"""What the robust algorithms share: an adversary and a penalty inside SB3's own ``train``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor, nn

from aajr._checks import check_choice
from aajr.adversaries import Adversary, Divergence, ProjectedGradientAscent
from aajr.geometry import Ball
from aajr.integrations.sb3._maps import PolicyMap, check_supported, policy_map
from aajr.minimax import Minimax
from aajr.penalties import Penalty


class RobustAlgorithm(BaseAlgorithm):
    """The part of an SB3 algorithm that attacks the policy's observations while it trains.

    SB3's ``train`` runs as it is. For its time, the one method through which it reaches the
    policy is replaced by one that evaluates the policy at x + δ* and hangs λ · penalty on the
    result: the value is unchanged, its backward pass adds the penalty's gradient.
    """

    adversary: Adversary | Ball | None
    penalty: Penalty | type[Penalty] | None

    def __init__(
        self,
        policy: Any,
        env: Any,
        *,
        adversary: Adversary | Ball | None = None,
        penalty: Penalty | type[Penalty] | None = None,
        penalty_weight: float | Callable[[int], float] = 0.0,
        placement: str = "adversarial",
        **host: Any,
    ) -> None:
        self.adversary = adversary
        self.penalty = penalty
        self.penalty_weight = penalty_weight
        self.placement = placement
        self._minimax: Minimax | None = None
        super().__init__(policy, env, **host)

    def _setup_model(self) -> None:
        super()._setup_model()
        if self.adversary is not None or self.penalty is not None:
            self._prepare()

    @property
    def robustness(self) -> dict[str, Any]:
        """What is attacked, how far and in which units, as JSON can hold it."""
        return {
            "adversary": _name(self.adversary),
            "norm": getattr(self._ball, "norm", None),
            "epsilon": getattr(self._ball, "epsilon", None),
            "epsilon_unit": epsilon_unit(self),
            "penalty": _name(self.penalty),
            "penalty_weight": _number(self.penalty_weight),
            "placement": self.placement,
        }

    @property
    def _ball(self) -> Any:
        return self.adversary if isinstance(self.adversary, Ball) else _ball_of(self.adversary)

    def _prepare(self) -> tuple[Minimax, PolicyMap]:
        """The plug with the present settings, which callbacks may change between updates."""
        check_supported(self)
        check_choice("placement", self.placement, ("clean", "adversarial"))
        if self.adversary is None:
            raise ValueError(
                f"penalty={_name(self.penalty)} has no trajectory to act on; give adversary=, for "
                "instance aajr.Ball('linf', 0.1)"
            )
        mapped = policy_map(self.policy)
        if isinstance(self.adversary, Ball):
            self.adversary = ProjectedGradientAscent(self.adversary, Divergence(mapped.metric))
        if isinstance(self.penalty, type):
            self.penalty = self.penalty(metric=mapped.metric)
        fresh = Minimax(
            self.adversary,
            self.penalty,
            weight=self.penalty_weight,
            placement="clean",
            seed=self.seed or 0,
        )
        if self._minimax is None:
            self._minimax = fresh
        self._minimax.adversary = fresh.adversary
        self._minimax.penalty = fresh.penalty
        self._minimax.weight = fresh.weight
        return self._minimax, mapped

    @contextmanager
    def _robustly(
        self, owner: nn.Module, method: str, replacement: Callable[..., Any]
    ) -> Iterator[None]:
        """Replace ``owner.method`` for a while by ``replacement(host, attack, *arguments)``."""
        if self.adversary is None and self.penalty is None:
            yield
            return
        minimax, mapped = self._prepare()
        attack = Attack(minimax, mapped.module, self.placement)
        host = getattr(owner, method)
        setattr(owner, method, lambda *arguments: replacement(host, attack, *arguments))
        try:
            yield
        finally:
            delattr(owner, method)
        for name, values in attack.record.items():
            self.logger.record(f"aajr/{name}", float(np.mean(values)))
        epsilon = getattr(self._ball, "epsilon", None)
        if epsilon is not None:
            self.logger.record("aajr/epsilon", epsilon)


class Attack:
    """One attack per minibatch: where the task is evaluated, and what is added to it.

    Args:
        minimax: adversary, penalty and weight.
        module: the policy's map.
        placement: ``adversarial`` or ``clean``.
    """

    def __init__(self, minimax: Minimax, module: nn.Module, placement: str) -> None:
        self.minimax = minimax
        self.module = module
        self.placement = placement
        self.record: dict[str, list[float]] = defaultdict(list)

    def __call__(
        self, observations: Tensor, data: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """The observations to show the policy, and λ · penalty, or None where it is zero.

        The very observations are returned where the attack leaves them as they are, so that the
        caller can take the host's own path.
        """
        x = observations.float()
        loss = self.minimax(self.module, x, _no_task, data)
        self.record["penalty"].append(float(loss.penalty.detach()))
        self.record["weight"].append(loss.diagnostics.get("weight", 0.0))
        for name in ("inner_gradient_norm_mean", "inner_gradient_norm_max", "sensitivity_quantile"):
            if name in loss.diagnostics:
                self.record[name].append(loss.diagnostics[name])
        worst = loss.trajectory.worst
        shown = observations if self.placement == "clean" or torch.equal(worst, x) else worst
        return shown, loss.total if loss.total.requires_grad and self._weighted(loss) else None

    def _weighted(self, loss: Any) -> bool:
        return loss.diagnostics.get("weight", 0.0) > 0


class _Attached(torch.autograd.Function):
    """The value as it is; backward also gives the penalty the gradient 1."""

    @staticmethod
    def forward(context: Any, value: Tensor, penalty: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        return gradient, gradient.new_ones(())


def attached(value: Tensor, penalty: Tensor | None) -> Tensor:
    """``value``, whose backward pass adds the penalty's gradient whatever comes from above.

    Args:
        value: what the host's loss is made of; it must go through it exactly once.
        penalty: a scalar, or None to leave the value alone.

    Returns:
        A tensor equal to ``value``.

    Example:
        >>> import torch
        >>> theta = torch.ones(1, requires_grad=True)
        >>> (3 * attached(2 * theta, (5 * theta).sum())).sum().backward()
        >>> theta.grad  # 3 · 2 of the loss and 5 of the penalty
        tensor([11.])
    """
    return value if penalty is None else _Attached.apply(value, penalty)


def epsilon_unit(agent: BaseAlgorithm) -> str:
    """The unit of ε: what the policy sees."""
    normaliser = agent.get_vec_normalize_env()
    if normaliser is not None and normaliser.norm_obs:
        return "normalised observation (VecNormalize): 1 is a running standard deviation"
    return "observation as the environment gives it"


def _no_task(output: Tensor) -> Tensor:
    """SB3 computes the task's loss itself."""
    return output.new_zeros(())


def _ball_of(adversary: Any) -> Any:
    return getattr(adversary, "ball", None)


def _name(value: Any) -> str | None:
    if value is None:
        return None
    return value.__name__ if isinstance(value, type) else type(value).__name__


def _number(weight: Any) -> float | str:
    return type(weight).__name__ if callable(weight) else float(weight)
