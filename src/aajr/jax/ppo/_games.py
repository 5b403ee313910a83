"""Environments that are stepped side by side: EnvPool's, or Gymnasium's vector environments."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float32]
Flags = NDArray[np.bool_]

ENVPOOL = "envpool:"
LARGEST_SEED = 2**31 - 1


class Games:
    """One environment many times. One that has ended begins anew at the step after its end.

    The action of that step is ignored, its reward is 0, and it shows the new initial state.

    Args:
        name: a name that Gymnasium knows, or ``envpool:`` before one that EnvPool knows.
        count: number of environments.
        seed: seed of the initial states.
        threads: threads that step EnvPool's environments.

    Attributes:
        observation: what is seen now, ``[count, features]``.
        over: where the last step ended an episode, so that the next begins anew, ``[count]``.
        features: size of an observation.
        low: least actions, ``[actions]``.
        high: greatest actions, ``[actions]``.

    Raises:
        ValueError: an unknown name, observations or actions that are not flat arrays of numbers.
        ImportError: Gymnasium or EnvPool is not installed.
    """

    def __init__(self, name: str, count: int, seed: int, threads: int = 2) -> None:
        seed %= LARGEST_SEED
        make = _of_envpool if name.startswith(ENVPOOL) else _of_gymnasium
        self._games, actions, observations = make(name, count, seed, threads)
        for what, space in (("actions", actions), ("observations", observations)):
            if len(getattr(space, "shape", None) or ()) != 1 or not hasattr(space, "low"):
                raise ValueError(f"{name}: its {what} are {space}; give one with a flat Box")
        self.low, self.high = np.float32(actions.low), np.float32(actions.high)
        self.features = int(observations.shape[0])
        shown, _ = self._games.reset(**({} if name.startswith(ENVPOOL) else {"seed": seed}))
        self.observation: Numbers = np.asarray(shown, np.float32)
        self.over: Flags = np.zeros(count, bool)

    def step(self, action: Numbers) -> tuple[Numbers, Flags, Flags]:
        """Play actions ``[count, actions]``, clipped to the bounds.

        Returns:
            Rewards, whether the episode has ended, and whether time was up, each ``[count]``.
        """
        played = np.clip(action, self.low, self.high)
        shown, reward, ended, cut, _ = self._games.step(played)
        self.observation = np.asarray(shown, np.float32)
        self.over = np.asarray(ended) | np.asarray(cut)
        return np.asarray(reward, np.float32), np.asarray(ended), np.asarray(cut)

    def close(self) -> None:
        """Free what the environments hold."""
        self._games.close()


def _of_gymnasium(name: str, count: int, seed: int, threads: int) -> tuple[Any, Any, Any]:
    try:
        import gymnasium
    except ImportError as error:
        raise ImportError("environments need Gymnasium: pip install 'aajr[mujoco]'") from error
    try:
        games = gymnasium.make_vec(name, num_envs=count, vectorization_mode="sync")
    except gymnasium.error.Error as error:
        raise ValueError(f"environment={name!r} cannot be made: {error}") from error
    return games, games.single_action_space, games.single_observation_space


def _of_envpool(name: str, count: int, seed: int, threads: int) -> tuple[Any, Any, Any]:
    try:
        import envpool
    except ImportError as error:
        raise ImportError(f"{name} needs EnvPool: pip install 'aajr[envpool]'") from error
    own = name.removeprefix(ENVPOOL)
    if own not in envpool.list_all_envs():
        raise ValueError(f"environment={name!r} is not in EnvPool; envpool.list_all_envs() tells")
    games = envpool.make(
        own, env_type="gymnasium", num_envs=count, seed=seed, num_threads=min(threads, count)
    )
    return games, games.action_space, games.observation_space
