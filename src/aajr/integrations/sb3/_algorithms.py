"""Robust versions of SB3's algorithms."""

from __future__ import annotations

from typing import Any

import torch
from stable_baselines3 import PPO, SAC, TD3
from torch import Tensor

from aajr.integrations.sb3._robust import Attack, RobustAlgorithm, attached


class RobustPPO(RobustAlgorithm, PPO):
    """PPO whose surrogate is taken at x + δ*."""

    def train(self) -> None:
        """SB3's update; log-probability and entropy at x + δ*, the value at x."""
        with self._robustly(self.policy, "evaluate_actions", self._evaluate_actions):
            super().train()

    def _evaluate_actions(
        self, host: Any, attack: Attack, observations: Tensor, actions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        shown, penalty = attack(observations)
        values, log_prob, entropy = host(observations, actions)
        if shown is not observations:
            _, log_prob, entropy = host(shown, actions)
        return values, attached(log_prob, penalty), entropy


class RobustSAC(RobustAlgorithm, SAC):
    """SAC whose actor acts on x + δ*."""

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """SB3's update; the actor sees x + δ*, the critics see x."""
        with self._robustly(self.actor, "action_log_prob", self._action_log_prob):
            super().train(gradient_steps, batch_size)

    def _action_log_prob(
        self, host: Any, attack: Attack, observations: Tensor
    ) -> tuple[Tensor, Tensor]:
        if not torch.is_grad_enabled():  # the critics' target
            return host(observations)
        shown, penalty = attack(observations)
        actions, log_prob = host(shown)
        return attached(actions, penalty), log_prob


class RobustTD3(RobustAlgorithm, TD3):
    """TD3 whose actor acts on x + δ*."""

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """SB3's update; the actor sees x + δ*, the critics see x."""
        with self._robustly(self.actor, "forward", self._forward):
            super().train(gradient_steps, batch_size)

    def _forward(self, host: Any, attack: Attack, observations: Tensor) -> Tensor:
        shown, penalty = attack(observations)
        return attached(host(shown), penalty)
