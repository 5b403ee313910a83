"""Robust versions of SB3's algorithms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from stable_baselines3 import PPO, SAC, TD3
from torch import Tensor

from aajr.integrations.sb3._robust import Attack, Replacement, RobustAlgorithm, attached


class RobustPPO(RobustAlgorithm, PPO):  # type: ignore[misc]
    r"""PPO whose policy is attacked while it trains, with a penalty on its sensitivity.

    .. math:: L = L_\text{clip}(\pi_\theta(x + \delta^*)) + c_1 L_V(x) - c_2 H + \lambda R(\theta)

    The log-probability and the entropy are evaluated at x + δ*, the value at x. The attacked map
    is x -> (mean, log std), or x -> logits, with the Fisher metric. The adversary's objective
    may read ``action`` and ``advantage``; SB3 has normalised the advantage.

    :param policy: SB3's policy, ``"MlpPolicy"``
    :param env: the environment, as for PPO
    :param adversary: the inner maximisation; a :class:`aajr.Ball` means projected gradient
        ascent on the policy's divergence in that ball; None trains plain PPO
    :param penalty: the sensitivity that is penalised; a class means its instance in the policy's
        metric
    :param penalty_weight: λ, a number, a schedule of the minibatch update, or
        :class:`aajr.DualAscent`
    :param epsilon: ε in place of the ball's own, a number or a schedule of the minibatch update
    :param placement: where the surrogate is evaluated: at x + δ* (``adversarial``) or x
        (``clean``)
    :param host: PPO's own arguments

    ε has the unit of the policy's input; with ``VecNormalize`` a running standard deviation.

    Example:
        >>> import aajr
        >>> ball = aajr.Ball("linf", 0.1)
        >>> agent = RobustPPO(
        ...     "MlpPolicy", "CartPole-v1", adversary=ball, penalty=aajr.AAJR,
        ...     penalty_weight=0.1, n_steps=64, n_epochs=1, seed=0, device="cpu",
        ... ).learn(64)
        >>> agent.robustness["epsilon"]
        0.1

    Source: Schulman et al., Proximal policy optimization algorithms, 2017,
    https://arxiv.org/abs/1707.06347; Zhang et al., 2020, https://arxiv.org/abs/2003.08938.
    """

    def _replacements(self, attack: Attack) -> list[Replacement]:
        evaluate, minibatches = self.policy.evaluate_actions, self.rollout_buffer.get
        data: dict[str, Tensor] = {}

        def get(batch_size: int | None = None) -> Iterator[Any]:
            for minibatch in minibatches(batch_size):
                data["advantage"] = self._advantages(minibatch.advantages)
                yield minibatch

        def evaluate_actions(
            observations: Tensor, actions: Tensor
        ) -> tuple[Tensor, Tensor, Tensor | None]:
            shown, penalty = attack(observations, {"action": actions, **data})
            values, log_prob, entropy = evaluate(observations, actions)
            if shown is not observations:
                _, log_prob, entropy = evaluate(shown, actions)
            return values, attached(log_prob, penalty), entropy

        return [
            (self.rollout_buffer, "get", get),
            (self.policy, "evaluate_actions", evaluate_actions),
        ]

    def _advantages(self, advantages: Tensor) -> Tensor:
        if self.normalize_advantage and len(advantages) > 1:
            return (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        return advantages


class RobustSAC(RobustAlgorithm, SAC):  # type: ignore[misc]
    r"""SAC whose actor is attacked while it trains, with a penalty on its sensitivity.

    .. math:: L = \alpha \log \pi_\theta(a \mid x + \delta^*) - Q(x, a) + \lambda R(\theta),
        \qquad a \sim \pi_\theta(\cdot \mid x + \delta^*)

    The critics see x, and their targets are SB3's. The temperature follows the entropy at
    x + δ*. The attacked map is x -> (mean, log std) before tanh, with the Fisher metric.

    The arguments are those of :class:`RobustPPO`, with SAC's own in place of PPO's; ``placement``
    says where the actor's loss is evaluated.

    Example:
        >>> import aajr
        >>> ball = aajr.Ball("linf", 0.1)
        >>> RobustSAC("MlpPolicy", "Pendulum-v1", adversary=ball, device="cpu").placement
        'adversarial'

    Source: Haarnoja et al., Soft actor-critic, 2018, https://arxiv.org/abs/1801.01290.
    """

    def _replacements(self, attack: Attack) -> list[Replacement]:
        host = self.actor.action_log_prob

        def action_log_prob(observations: Tensor) -> tuple[Tensor, Tensor]:
            if not torch.is_grad_enabled():  # the critics' target
                return host(observations)
            shown, penalty = attack(observations)
            actions, log_prob = host(shown)
            return attached(actions, penalty), log_prob

        return [(self.actor, "action_log_prob", action_log_prob)]


class RobustTD3(RobustAlgorithm, TD3):  # type: ignore[misc]
    r"""TD3 whose actor is attacked while it trains, with a penalty on its sensitivity.

    .. math:: L = -Q_1(x, \pi_\theta(x + \delta^*)) + \lambda R(\theta)

    The critics see x, and their targets are SB3's. The attacked map goes from x to the action in
    [-1, 1], with the Euclidean metric.

    The arguments are those of :class:`RobustPPO`, with TD3's own in place of PPO's; ``placement``
    says where the actor's loss is evaluated.

    Example:
        >>> import aajr
        >>> ball = aajr.Ball("linf", 0.1)
        >>> RobustTD3("MlpPolicy", "Pendulum-v1", adversary=ball, device="cpu").placement
        'adversarial'

    Source: Fujimoto et al., Addressing function approximation error in actor-critic methods,
    2018, https://arxiv.org/abs/1802.09477.
    """

    def _replacements(self, attack: Attack) -> list[Replacement]:
        host = self.actor.forward

        def forward(observations: Tensor) -> Tensor:
            shown, penalty = attack(observations)
            return attached(host(shown), penalty)

        return [(self.actor, "forward", forward)]
