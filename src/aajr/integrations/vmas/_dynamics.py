"""A VMAS environment as differentiable dynamics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from aajr.adversaries import Dynamics

_PARTS = {"pos": 2, "vel": 2, "rot": 1, "ang_vel": 1}
_SIZE = sum(_PARTS.values())


def vmas_dynamics(env: Any, cost: Callable[[Any], Tensor]) -> Dynamics:
    """Step, observation and cost of a VMAS environment as pure functions of its state.

    The state is the position, velocity, rotation and angular velocity of every entity,
    ``[envs, 6 * entities]``; :func:`vmas_state` returns the current one. Each call overwrites the
    environment's state. Scenarios whose observations or dynamics read any further state are not
    supported.

    Args:
        env: environment of ``vmas.make_env`` with ``grad_enabled=True`` and continuous actions;
            with ``clamp_actions=True`` if the policy's actions are not bounded.
        cost: map from the world to the value ``[envs]`` that an adversary maximises, for instance
            the distance of the agents from their goals.

    Returns:
        Dynamics with observations ``[envs, agents, features]`` and actions
        ``[envs, agents, actions]``.

    Raises:
        ValueError: gradients are off, discrete actions, or agents that speak.

    Example:
        >>> import vmas
        >>> env = vmas.make_env("simple", num_envs=2, grad_enabled=True, seed=0)
        >>> def distance(world):
        ...     return world.agents[0].state.pos.norm(dim=-1)
        >>> dynamics, state = vmas_dynamics(env, distance), vmas_state(env)
        >>> dynamics.step(state, torch.zeros(2, 1, 2)).shape
        torch.Size([2, 12])

    Source: Bettini et al., VMAS: a vectorized multi-agent simulator, 2022,
    https://arxiv.org/abs/2207.03530.
    """
    if not env.grad_enabled:
        raise ValueError("env detaches actions; make it with grad_enabled=True")
    if not env.continuous_actions:
        raise ValueError("env takes discrete actions; make it with continuous_actions=True")
    if any(not agent.silent for agent in env.agents) and env.world.dim_c:
        raise ValueError("env has agents that speak, and messages are not part of the state")

    def step(state: Tensor, action: Tensor) -> Tensor:
        _restore(env, state)
        env.step(list(action.unbind(1)))
        return vmas_state(env)

    def observe(state: Tensor) -> Tensor:
        _restore(env, state)
        return torch.stack([env.scenario.observation(agent) for agent in env.agents], 1)

    def loss(state: Tensor) -> Tensor:
        _restore(env, state)
        return cost(env.world)

    return Dynamics(step, observe, loss)


def vmas_state(env: Any) -> Tensor:
    """The current state of a VMAS environment, ``[envs, 6 * entities]``."""
    parts = [getattr(entity.state, name) for entity in env.world.entities for name in _PARTS]
    return torch.cat(parts, -1)


def _restore(env: Any, state: Tensor) -> None:
    entities = env.world.entities
    if state.shape != (env.num_envs, _SIZE * len(entities)):
        raise ValueError(
            f"state has shape {tuple(state.shape)}; this environment has "
            f"{(env.num_envs, _SIZE * len(entities))}"
        )
    for entity, part in zip(entities, state.split(_SIZE, -1), strict=True):  # type: ignore[no-untyped-call]
        values = part.split(list(_PARTS.values()), -1)
        for name, value in zip(_PARTS, values, strict=True):
            setattr(entity.state, name, value)
