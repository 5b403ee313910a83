"""Where an environment of TorchRL keeps what the attacked agents see, do and earn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from gymnasium import spaces
from tensordict import TensorDictBase, unravel_key
from torch import Tensor
from torchrl.data import Stacked, TensorSpec
from torchrl.envs import Compose, EnvBase, Transform, TransformedEnv

from aajr.integrations.torchrl._specs import action_space, native, shown_space

Key: TypeAlias = str | tuple[str, ...]
"""Name of an entry, or the names that lead to it, as ``("agents", "observation")``."""


@dataclass(frozen=True)
class Layout:
    """The entries that one group of agents has, and their specs for one agent.

    Attributes:
        batch: the environment's ``batch_size``.
        group: entry that holds those of a group of agents; empty for an agent without a group.
        members: number of agents of the group, if the entries have a dimension for them.
        shown: spec of each observed entry.
        action: the action's entry.
        act: spec of an action.
        reward: the reward's entry.
        ends: entry that holds ``done`` of the whole environment, or of the group without one.
        truncates: whether a limit of time is told from an end.
        leaves: whether each agent of the group has a ``done`` of its own.
    """

    batch: tuple[int, ...]
    group: tuple[str, ...]
    members: int | None
    shown: dict[Key, TensorSpec]
    action: Key
    act: TensorSpec
    reward: Key
    ends: tuple[str, ...]
    truncates: bool
    leaves: bool

    @property
    def agents(self) -> int:
        """Number of attacked agents."""
        return 1 if self.members is None else self.members

    @property
    def space(self) -> spaces.Space[Any]:
        """Space of what an agent sees: a Dict if there are several entries."""
        members = [(self.name(key), shown_space(spec)) for key, spec in self.shown.items()]
        return spaces.Dict(members) if len(members) > 1 else _with_dimension(members[0][1])

    @property
    def action_space(self) -> spaces.Space[Any]:
        """Space of an agent's actions."""
        return action_space(self.act)

    def name(self, key: Key) -> str:
        """Name of an observed entry inside its group."""
        return ".".join(_path(key)[len(self.group) :])

    def of_agents(self, data: TensorDictBase, key: Key) -> Tensor:
        """An entry of the agents, ``[rows, agents, ...]`` with one row for each of the batch."""
        entry = self.of_rows(data, key)
        alone = self.members is None or _path(key)[: len(self.group)] != self.group
        return entry.unsqueeze(1).expand(-1, self.agents, *entry.shape[1:]) if alone else entry

    def of_rows(self, data: TensorDictBase, key: Key) -> Tensor:
        """An entry with one row for each of the batch, ``[rows, ...]``."""
        entry = data.get(key).cpu()
        return entry.flatten(0, len(self.batch) - 1) if self.batch else entry.unsqueeze(0)

    def native(self, numbers: Tensor) -> Tensor:
        """Actions ``[rows, agents, actions]`` as the environment takes them."""
        action = native(self.act, numbers)
        if self.members is None:
            action = action.squeeze(1)
        return action.reshape((*self.batch, *action.shape[1:]))


def layout_of(made: EnvBase, observation: Key | list[Key]) -> Layout:
    """The entries of the agents that see the observed ones.

    Args:
        made: the environment.
        observation: the observed entry, or a list of entries.

    Raises:
        ValueError: entries that are not there, or not of one group, agents with different spaces.
    """
    keys = observation if isinstance(observation, list) else [observation]
    known = [unravel_key(key) for key in made.observation_keys]
    if missing := [key for key in keys if key not in known]:
        raise ValueError(
            f"observation={missing} are not shown; the environment shows {known}, of which "
            "observation= names those that the agent reads"
        )
    action = _one_of("action", [k for k in made.action_keys if _inside(keys, k)], made.action_keys)
    group = _path(action)[:-1]
    rewards = [key for key in made.reward_keys if _path(key)[:-1] in (group, ())]
    reward = _one_of("reward", rewards, made.reward_keys)
    sight, acts = made.full_observation_spec_unbatched, made.full_action_spec_unbatched
    shape: tuple[int, ...] = made.full_observation_spec[group].shape if group else made.batch_size
    shape = shape[len(made.batch_size) :]
    if len(shape) > 1:
        raise ValueError(f"{group} has shape {tuple(shape)}; give a group with one row of agents")
    members = int(shape[0]) if len(shape) else None
    done = {_path(key) for key in made.done_keys}
    ends = () if ("done",) in done else group
    return Layout(
        tuple(made.batch_size),
        group,
        members,
        {key: _of_one(sight[key], members, key) for key in keys},
        action,
        _of_one(acts[action], members, action),
        reward,
        ends,
        (*ends, "truncated") in done,
        members is not None and (*group, "done") in done,
    )


def unwrapped(made: EnvBase) -> tuple[EnvBase, list[Transform]]:
    """The environment inside all transforms, and the transforms."""
    found: list[Transform] = []
    while isinstance(made, TransformedEnv):
        found += made.transform if isinstance(made.transform, Compose) else [made.transform]
        made = made.base_env
    return made, found


def _of_one(spec: TensorSpec, members: int | None, key: Key) -> TensorSpec:
    """The spec of one agent."""
    if members is None:
        return spec
    several: tuple[TensorSpec, ...] = () if isinstance(spec, Stacked) else spec.unbind(0)
    if any(one != several[0] for one in several) or not several:
        raise ValueError(
            f"the agents have different specs of {key}, so they cannot share one policy; put them "
            "in groups of their own, by group_map, and attack one group at a time"
        )
    return several[0]


def _one_of(kind: str, found: list[Key], known: Sequence[Key]) -> Key:
    """The deepest of the entries; if several are as deep, the one of the plain name."""
    deepest = max((len(_path(key)) for key in found), default=0)
    left = [key for key in found if len(_path(key)) == deepest]
    plain = [key for key in left if _path(key)[-1] == kind] if len(left) > 1 else left
    if len(plain) != 1:
        raise ValueError(
            f"the observed agents have {len(left)} entries of their {kind} among {list(known)}; "
            f"exactly one is needed, called {kind!r} if there are others"
        )
    return plain[0]


def _inside(observed: Sequence[Key], action: Key) -> bool:
    """Whether all observed entries are in the group of an action."""
    group = _path(action)[:-1]
    return all(_path(key)[: len(group)] == group for key in observed)


def _path(key: Key) -> tuple[str, ...]:
    return (key,) if isinstance(key, str) else tuple(key)


def _with_dimension(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """A Box of a single number as one of one dimension."""
    if not isinstance(space, spaces.Box) or space.shape:
        return space
    return spaces.Box(space.low[None], space.high[None], (1,), space.dtype)
