"""The rows of a PPO update from collected episodes: critic, GAE, flattening over agents."""

from __future__ import annotations

from typing import Literal

import torch
from tensordict import TensorDict
from torch import Tensor, nn
from torchrl.objectives.value.functional import vec_generalized_advantage_estimate

from aajr.arena.training.ppo import PPOConfig


def critic_input(observation: Tensor, kind: Literal["independent", "centralised"]) -> Tensor:
    """The critic's input: ``[..., agents, features]`` to ``[..., agents, critic_features]``.

    ``centralised`` appends the observations of the whole team to an agent's own.
    """
    if kind == "independent":
        return observation
    team = observation.flatten(-2).unsqueeze(-2).expand(*observation.shape[:-1], -1)
    return torch.cat([observation, team], -1)


def rows_of(data: TensorDict, group: str, critic: nn.Module, ppo: PPOConfig) -> TensorDict:
    """One row per agent and step, with advantage and value target.

    Args:
        data: collected episodes ``[environments, steps]``.
        group: name of the team.
        critic: map from the critic's input to ``[..., 1]``.
        ppo: discount, trace and kind of critic.

    Returns:
        TensorDict ``[environments * steps * agents]``.
    """
    observation = data[group, "observation"]
    state = critic_input(observation, ppo.critic)
    with torch.no_grad():
        value = critic(state)
        following = critic(critic_input(data["next", group, "observation"][:, -1:], ppo.critic))
    next_value = torch.cat([value[:, 1:], following], 1)
    reward = data["next", group, "reward"]
    done = data["next", "done"].unsqueeze(-2).expand_as(reward)
    # The observation holds the time, so the return ends with the episode: no value is bootstrapped
    # there, whether it was terminated or truncated.
    advantage, target = (
        moved.transpose(1, 2)
        for moved in vec_generalized_advantage_estimate(
            ppo.discount,
            ppo.trace,
            *(t.transpose(1, 2) for t in (value, next_value, reward, done, done)),
        )
    )
    rows = {
        "observation": data[group, "perceived"],
        "state_observation": observation,
        "state": state,
        "shift": data[group, "shift"],
        "action": data[group, "action"],
        "action_log_prob": data[group, "action_log_prob"],
        "advantage": advantage,
        "value_target": target,
    }
    count = reward.shape[0] * reward.shape[1] * reward.shape[2]
    return TensorDict({name: value.flatten(0, 2) for name, value in rows.items()}, [count])
