"""Running episodes of TorchRL's environments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from gymnasium import spaces
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.envs import (
    EnvBase,
    ExplorationType,
    GymWrapper,
    PettingZooWrapper,
    set_exploration_type,
)

from aajr._seeds import derive
from aajr.arena.environments.frames import Frames
from aajr.arena.environments.protocols import Latest
from aajr.arena.environments.teams import TeamRecord, team_record
from aajr.integrations.torchrl._layout import unwrapped

if TYPE_CHECKING:
    from aajr.integrations.torchrl._environment import TorchRLEnvironment
    from aajr.integrations.torchrl._layout import Key


class _Copy:
    """One environment that is being played; torch's global random numbers are its own meanwhile.

    Attributes:
        data: what it shows now.
        brought: what the latest step brought.
    """

    def __init__(self, environment: TorchRLEnvironment, seed: int) -> None:
        self._layout, self._others = environment.layout, environment.others
        self._random = torch.Generator().manual_seed(seed).get_state()
        with self._own_random_numbers():
            self._made = environment.make()
            self.data = _started(self._made, seed)
        self.brought = self.data

    def play(self, numbers: Tensor, going: Tensor) -> None:
        """Play one step.

        Args:
            numbers: actions ``[rows, agents, actions]``, one row for each of the batch.
            going: rows that have not ended, boolean ``[rows]``.
        """
        with self._own_random_numbers():
            data = self._with_others()
            action = self._layout.native(numbers)
            data.set(self._layout.action, action.to(self._made.device or action.device))
            if not bool(going.all()):
                data.set("_step", going.reshape(self._layout.batch))
            after = self._made.step(data)
            self.brought, self.data = after["next"], self._made.step_mdp(after)

    def _with_others(self) -> TensorDictBase:
        """What it shows now, with the actions of all agents that are not attacked."""
        if self._others is None:
            return self.data
        with set_exploration_type(ExplorationType.DETERMINISTIC):
            return self._others(self.data)

    def close(self) -> None:
        self._made.close(raise_if_closed=False)

    @contextmanager
    def _own_random_numbers(self) -> Iterator[None]:
        outside = torch.get_rng_state()
        torch.set_rng_state(self._random)
        try:
            yield
        finally:
            self._random = torch.get_rng_state()
            torch.set_rng_state(outside)


class RunningCopies:
    """Episodes that are being played; those of one copy are rows of its batch."""

    def __init__(self, environment: TorchRLEnvironment) -> None:
        self._environment, self._layout = environment, environment.layout
        count, self._size = environment.episodes, torch.Size(self._layout.batch).numel()
        self._copies = [
            _Copy(environment, derive(environment.seed, "start", index))
            for index in range(-(-count // self._size))
        ]
        self._terminated = torch.zeros(count, dtype=torch.bool)
        self._alive = torch.ones(count, environment.agents, dtype=torch.bool)
        self._frames = Frames()
        self._latest: Latest | None = None
        self.running = torch.arange(count)
        self.observation = self._seen()

    @property
    def latest(self) -> Latest:
        """What the latest step brought."""
        if self._latest is None:
            raise ValueError("no step has been played; call step first")
        return self._latest

    def step(self, action: Tensor) -> None:
        """Play one step of every running episode with actions ``[running, agents, actions]``."""
        rows, layout = self.running, self._layout
        self._play(action)
        alive = self._alive[rows]
        gained = self._gathered(lambda copy: layout.of_agents(copy.brought, layout.reward))
        reward = gained.float().flatten(2).sum(2) * alive
        self._frames.add(rows, self.observation, action, reward, alive)
        ended, done = self._flags("terminated") & (not self._timed_out()), self._flags("done")
        cut = (done | (len(self._frames) == self._environment.limit)) & ~ended
        self._terminated[rows] = ended
        if layout.leaves:
            own: Key = (*layout.group, "done")
            left = self._gathered(lambda copy: layout.of_agents(copy.brought, own)).flatten(2)
            self._alive[rows] = alive & ~left.any(2)
        seen = self._seen() * alive.unsqueeze(-1)
        self._latest = Latest(seen, reward, ended, cut)
        going = ~(ended | cut)
        self.running = rows[going]
        self.observation = seen[going] * self._alive[self.running].unsqueeze(-1)

    def record(self) -> TeamRecord:
        """Close the environments and return the record of the episodes."""
        for one in self._copies:
            one.close()
        return team_record(self._frames, self._terminated, self._environment.solved_at)

    def _play(self, action: Tensor) -> None:
        """Step every copy with a running episode; ended rows of its batch get zeros."""
        shape = len(self._copies), self._size
        place = self.running // self._size, self.running % self._size
        every, going = action.new_zeros(*shape, *action.shape[1:]), torch.zeros(shape).bool()
        every[place], going[place] = action, True
        for one, numbers, own in zip(self._copies, every, going, strict=True):
            if bool(own.any()):
                one.play(numbers, own)

    def _gathered(self, read: Callable[[_Copy], Tensor]) -> Tensor:
        """Rows of the running episodes of what every copy has, ``[running, ...]``."""
        copies, place = torch.unique(self.running // self._size, return_inverse=True)
        every = torch.stack([read(self._copies[number]) for number in copies.tolist()])
        return every[place, self.running % self._size]

    def _flags(self, name: str) -> Tensor:
        """Whether the running episodes are done, or terminated; a group's last agent decides."""
        key: Key = (*self._layout.ends, name)
        flags = self._gathered(lambda copy: self._layout.of_rows(copy.brought, key))
        return flags.flatten(1).all(1)

    def _timed_out(self) -> bool:
        """Whether the environment's own limit of time is reached, which it tells as an end."""
        own = self._environment.own_limit
        return not self._layout.truncates and own is not None and len(self._frames) >= own

    def _seen(self) -> Tensor:
        """What the attacked are shown in the running episodes."""
        view, rows, layout = self._environment.view, self.running, self._layout
        parts = {layout.name(key): self._shown(key).numpy() for key in layout.shown}
        if isinstance(view.space, spaces.Box):
            (array,) = parts.values()
            seen = view.sight(array.reshape(-1, *view.space.shape))
        elif isinstance(view.space, spaces.Dict):
            several: list[Any] = [
                {name: array[row] for name, array in parts.items()}
                for row in range(len(rows) * layout.agents)
            ]
            seen = view.sight(view.raw(several))
        else:
            seen = view.sight(view.raw(list(*parts.values())))
        return seen.reshape(len(rows), layout.agents, -1)

    def _shown(self, key: Key) -> Tensor:
        """One entry of what the attacked are shown, with a row for each of them."""
        return self._gathered(lambda copy: self._layout.of_agents(copy.data, key)).flatten(0, 1)


def _started(made: EnvBase, seed: int) -> TensorDictBase:
    """The first observations under a seed."""
    if isinstance(unwrapped(made)[0], GymWrapper | PettingZooWrapper):
        return made.reset(seed=seed)
    made.set_seed(seed)
    return made.reset()
