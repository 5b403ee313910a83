"""The base of the robust algorithms: an adversary and a penalty inside SB3's own ``train``."""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.preprocessing import is_image_space
from torch import Tensor, nn

from aajr._checks import check_choice, check_finite
from aajr.adversaries import Adversary, with_ball
from aajr.geometry import Ball
from aajr.integrations._adversaries import one_budget
from aajr.integrations._settings import adversary_of, penalty_of
from aajr.integrations.sb3._maps import PolicyMap, check_supported, policy_map
from aajr.integrations.sb3._preprocessing import lost_statistics, normalises
from aajr.minimax import Minimax, RobustLoss
from aajr.penalties import Penalty
from aajr.schedules import Schedule, value_at

Placement = Literal["adversarial", "clean"]
Replacement = tuple[Any, str, Callable[..., Any]]
"""An object, the name of its method, and the method's replacement while SB3 trains."""


class RobustAlgorithm(BaseAlgorithm):  # type: ignore[misc]
    """The part of an SB3 algorithm that attacks the policy's observations while it trains.

    SB3's ``train`` runs unchanged. While it runs, the method through which it calls the policy is
    replaced by one that evaluates the policy at x + δ* and attaches λ · penalty to the result.

    ``adversary``, ``penalty``, ``penalty_weight``, ``epsilon`` and ``placement`` are plain
    attributes. A callback may set them between updates, and SB3's zip file keeps them.
    """

    def __init__(
        self,
        policy: Any,
        env: Any,
        *,
        adversary: Adversary | Ball | None = None,
        penalty: Penalty | type[Penalty] | None = None,
        penalty_weight: float | Schedule = 0.0,
        epsilon: float | Schedule | None = None,
        placement: Placement = "adversarial",
        **host: Any,
    ) -> None:
        self.adversary = adversary
        self.penalty = penalty
        self.penalty_weight = penalty_weight
        self.epsilon = epsilon
        self.placement = placement
        self.trained_normalised = False
        self._minimax: Minimax | None = None
        super().__init__(policy, env, **host)

    @property
    def robustness(self) -> dict[str, Any]:
        """Adversary, ε with its unit, penalty, weight and placement, as JSON values."""
        ball = getattr(self.adversary, "ball", None)
        return {
            "adversary": _name(self.adversary),
            "norm": getattr(ball, "norm", None),
            "epsilon": getattr(ball, "epsilon", None) if self.epsilon is None else self._radius,
            "epsilon_unit": epsilon_unit(self),
            "penalty": _name(self.penalty),
            "penalty_weight": _number(self.penalty_weight),
            "placement": self.placement,
        }

    @abstractmethod
    def _replacements(self, attack: Attack) -> list[Replacement]:
        """The methods that the attack replaces during SB3's update."""

    @property
    def _radius(self) -> float:
        update = self._minimax.update if self._minimax is not None else 0
        return value_at(self.epsilon or 0.0, max(0, update - 1))

    def _setup_model(self) -> None:
        super()._setup_model()
        if self._robust:
            self._prepared()

    def train(self, *arguments: Any, **named: Any) -> None:
        """SB3's update under attack, with the arguments of SB3's own ``train``."""
        with self._attacking():
            super().train(*arguments, **named)

    @property
    def _robust(self) -> bool:
        return self.adversary is not None or self.penalty is not None

    def _prepared(self) -> tuple[Minimax, PolicyMap]:
        """Minimax with the current settings, keeping its count and generator; and the map."""
        check_supported(self)
        check_choice("placement", self.placement, ("adversarial", "clean"))
        if self.adversary is None:
            raise ValueError(
                f"penalty={_name(self.penalty)} has no attack to follow; give adversary=, for "
                "instance aajr.Ball('linf', 0.1)"
            )
        mapped = policy_map(self.policy)
        adversary = adversary_of(self.adversary, mapped.metric)
        self.adversary = on_whole_observations(adversary, self.observation_space)
        self.penalty = penalty_of(self.penalty, mapped.metric)
        present = Minimax(
            self.adversary,
            self.penalty,
            weight=self.penalty_weight,
            epsilon=self.epsilon,
            placement=self.placement,
            seed=self.seed or 0,
        )
        if self._minimax is None:
            self._minimax = present
        for name in ("adversary", "penalty", "weight", "epsilon", "placement"):
            setattr(self._minimax, name, getattr(present, name))
        return self._minimax, mapped

    @contextmanager
    def _attacking(self) -> Iterator[None]:
        """Replace the methods during one call of SB3's ``train``, then log."""
        if not self._robust:
            yield
            return
        minimax, mapped = self._prepared()
        self.trained_normalised = normalises(self)
        attack = Attack(minimax, mapped, self.placement)
        replacements = self._replacements(attack)
        for owner, method, replacement in replacements:
            setattr(owner, method, replacement)
        try:
            yield
        finally:
            for owner, method, _ in replacements:
                delattr(owner, method)
        for name, values in attack.record.items():
            reduce = np.max if name.endswith("_max") else np.mean
            self.logger.record(f"aajr/{name}", float(reduce(values)))
        if self.robustness["epsilon"] is not None:
            self.logger.record("aajr/epsilon", self.robustness["epsilon"])


class Attack:
    """One attack per minibatch; it gives the policy's input and the term added to the loss.

    Args:
        minimax: adversary, penalty and weight.
        module: the policy's map.
        placement: ``adversarial`` or ``clean``.
    """

    def __init__(self, minimax: Minimax, module: nn.Module, placement: Placement) -> None:
        self.minimax = minimax
        self.module = module
        self.placement = placement
        self.record: dict[str, list[float]] = defaultdict(list)

    def __call__(
        self, observations: Tensor, data: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Attack a minibatch.

        Args:
            observations: the policy's input, ``[batch, ...]``.
            data: tensors that the adversary's objective reads.

        Returns:
            The input to show the policy, which is ``observations`` itself if unchanged; and
            λ · penalty, a scalar, or None if it is zero.

        Raises:
            ValueError: observations that are NaN or infinite, or arguments that
                :class:`aajr.Minimax` refuses.
        """
        check_finite("observations", observations)
        x = observations.float()
        loss = self.minimax.regularise(self.module, x, data)
        weight = loss.diagnostics.get("weight", 0.0)
        self._note(loss, weight)
        worst = loss.trajectory.worst
        same = self.placement == "clean" or torch.equal(worst, x)
        weighted = weight > 0 and loss.total.requires_grad
        return observations if same else worst, loss.total if weighted else None

    def _note(self, loss: RobustLoss, weight: float) -> None:
        self.record["penalty"].append(float(loss.penalty.detach()))
        self.record["weight"].append(weight)
        for name in ("inner_gradient_norm_mean", "inner_gradient_norm_max", "sensitivity_quantile"):
            if name in loss.diagnostics:
                self.record[name].append(loss.diagnostics[name])


class _Attached(torch.autograd.Function):
    """The unchanged value; its backward pass also gives the penalty the gradient 1."""

    @staticmethod
    def forward(context: Any, value: Tensor, penalty: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        return gradient, gradient.new_ones(())


def attached(value: Tensor, penalty: Tensor | None) -> Tensor:
    """``value``, whose backward pass also adds the penalty's gradient with factor 1.

    Args:
        value: a tensor that the host's loss is made of.
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
    if penalty is None:
        return value
    return _Attached.apply(value, penalty)  # type: ignore[no-untyped-call]


def on_whole_observations(adversary: Adversary, space: spaces.Box) -> Adversary:
    """The adversary with one budget per observation and image pixels between 0 and 255.

    If the ball sets ``event_dims``, ``low`` or ``high`` itself, its own values stay.
    """

    def whole(ball: Ball) -> Ball:
        ball = one_budget(ball, len(space.shape))
        open_ended = ball.low is None and ball.high is None
        return replace(ball, low=0.0, high=255.0) if is_image_space(space) and open_ended else ball

    return with_ball(adversary, whole)


def epsilon_unit(agent: BaseAlgorithm) -> str:
    """The unit of ε, which is the unit of the policy's input."""
    if is_image_space(agent.observation_space):
        return "pixel level of 0 to 255"
    if normalises(agent) or lost_statistics(agent):
        return "normalised observation (VecNormalize): 1 is a running standard deviation"
    return "observation as the policy sees it"


def _name(value: Any) -> str | None:
    return None if value is None else type(value).__name__


def _number(weight: float | Schedule) -> float | str:
    return type(weight).__name__ if callable(weight) else float(weight)
