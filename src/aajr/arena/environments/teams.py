"""Teams of which some agents are attacked and the others have policies of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from aajr.arena.environments.frames import Frames
from aajr.arena.environments.protocols import AgentLike
from aajr.arena.environments.views import View, flat

SpaceOf = Callable[[str], Any]
"""Function from an agent's name to its space."""


@dataclass(frozen=True, eq=False)
class TeamRecord:
    """The record of played episodes; those that ended early are padded with zeros.

    Attributes:
        won: whether the mean return of the attacked reaches the threshold, boolean ``[episodes]``.
        observation: clean observations of the attacked, ``[episodes, steps, agents, features]``.
        action: their actions, ``[episodes, steps, agents, actions]``.
        reward: their rewards, ``[episodes, steps, agents]``.
        played: steps that were played, boolean ``[episodes, steps]``.
        alive: agents that were in the game at a step, boolean ``[episodes, steps, agents]``.
        terminated: whether the last of the attacked came to its own end, boolean ``[episodes]``.
        truncated: whether a limit of time cut the episode instead, boolean ``[episodes]``.
    """

    won: Tensor
    observation: Tensor
    action: Tensor
    reward: Tensor
    played: Tensor
    alive: Tensor
    terminated: Tensor
    truncated: Tensor


def team_record(frames: Frames, terminated: Tensor, solved_at: float) -> TeamRecord:
    """The record of steps that hold observation, action, reward and who was in the game.

    Args:
        frames: the steps.
        terminated: whether an episode came to its own end, boolean ``[episodes]``.
        solved_at: mean return of the attacked from which an episode counts as won.
    """
    played, (observation, action, reward, alive) = frames.padded(len(terminated))
    won = reward.double().sum(1).mean(1) >= solved_at
    return TeamRecord(won, observation, action, reward, played, alive, terminated, ~terminated)


def check_team(
    known: Sequence[str],
    attacked: Sequence[str],
    others: Mapping[str, AgentLike],
    observation_space: SpaceOf,
    action_space: SpaceOf,
) -> tuple[str, ...]:
    """Names of the attacked agents: by default all that have no policy in ``others``.

    Args:
        known: names of all agents.
        attacked: names of the attacked; none for the default.
        others: policies of the others, by name.
        observation_space: function from a name to a space of observations.
        action_space: function from a name to a space of actions.

    Raises:
        ValueError: unknown names, agents without a policy, attacked agents with different spaces,
            a policy that reads another number of features.
    """
    if isinstance(attacked, str):
        raise ValueError(f"attacked={attacked!r} is a word; give a list of names")
    names = tuple(attacked) or tuple(name for name in known if name not in others)
    _check_names(known, names, others)
    for kind, of in (("observe", observation_space), ("act in", action_space)):
        _check_alike(kind, names, of)
    for name, agent in others.items():
        own = View(observation_space(name), sight_of(agent)).features
        if own != agent.features:
            raise ValueError(
                f"others[{name!r}] reads {agent.features} features, the environment shows it "
                f"{own}; give the policy that was trained for it"
            )
    return names


def sight_of(agent: AgentLike) -> Callable[[np.ndarray], Tensor]:
    """The agent's own sight, or :func:`aajr.arena.environments.views.flat`."""
    sight: Callable[[np.ndarray], Tensor] | None = getattr(agent, "sight", None)
    return sight or flat


def _check_names(
    known: Sequence[str], attacked: Sequence[str], others: Mapping[str, AgentLike]
) -> None:
    """Raise ValueError unless every agent is either attacked or has a policy."""
    if unknown := [name for name in (*attacked, *others) if name not in known]:
        raise ValueError(f"{unknown} are not in the environment; its agents are {list(known)}")
    if len(set(attacked) | set(others)) < len(attacked) + len(others):
        raise ValueError(
            f"attacked={list(attacked)} and others={list(others)} name an agent twice; name each "
            "once"
        )
    if idle := [name for name in known if name not in attacked and name not in others]:
        raise ValueError(f"{idle} have no policy; give others={{{idle[0]!r}: policy, ...}}")
    if not attacked:
        raise ValueError("attacked is empty; name at least one agent")


def _check_alike(kind: str, attacked: Sequence[str], space_of: SpaceOf) -> None:
    """Raise ValueError unless the attacked agents have the same space."""
    first = space_of(attacked[0])
    for name in attacked[1:]:
        if space_of(name) != first:
            raise ValueError(
                f"{attacked[0]!r} and {name!r} {kind} different spaces, {first} and "
                f"{space_of(name)}; attack them one at a time, with the others in others=, or pad "
                "the spaces with SuperSuit's pad_observations_v0 and pad_action_space_v0"
            )
