"""The environment in which an agent is attacked, as the agent sees it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aajr.arena.environments.gymnasium import GymnasiumEnvironment, flat
from aajr.arena.environments.protocols import AgentLike, Environment
from aajr.arena.environments.sources import WithSources


def seen_by(agent: AgentLike, environment: Any, episodes: int, seed: int) -> Environment[Any]:
    """An environment with the episodes and the seed, seen through the agent's own ``sight``.

    An environment that was made with a ``sight`` of its own keeps it.

    Args:
        agent: the agent.
        environment: an environment of the arena, which is resized, or whatever
            :class:`~aajr.arena.environments.gymnasium.GymnasiumEnvironment` takes.
        episodes: number of episodes.
        seed: seed of the initial states.

    Raises:
        ValueError: the agent reads another number of features than the environment shows.

    Example:
        >>> from aajr.arena.agents.actors import Actor
        >>> seen_by(Actor(4, (2,)), "CartPole-v1", episodes=3, seed=0).features
        4
    """
    match: Environment[Any] = (
        environment.resized(episodes, seed)
        if hasattr(environment, "resized")
        else GymnasiumEnvironment(environment, episodes, seed)
    )
    sight = getattr(agent, "sight", None)
    match = match if sight is None else _through(sight, match)
    if agent.features != match.features:
        raise ValueError(
            f"the agent reads {agent.features} features, the environment shows {match.features}; "
            "give the environment that it was trained in, with its wrappers"
        )
    return match


def _through(sight: Any, environment: Environment[Any]) -> Environment[Any]:
    if isinstance(environment, WithSources):
        return replace(environment, environment=_through(sight, environment.environment))
    own: Any = environment
    return replace(own, sight=sight) if getattr(own, "sight", None) is flat else environment
