"""Running games of PettingZoo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from aajr._seeds import derive
from aajr.arena.environments.episodes import AttackedTeam
from aajr.arena.environments.frames import Frames
from aajr.arena.environments.protocols import Latest
from aajr.arena.environments.teams import TeamRecord, sight_of, team_record
from aajr.arena.environments.views import View
from aajr.arena.spaces.gymnasium import native_action

if TYPE_CHECKING:
    from aajr.arena.environments.pettingzoo import PettingZooEnvironment


class RunningGames:
    """Episodes that are being played."""

    def __init__(self, environment: PettingZooEnvironment) -> None:
        self._environment, count = environment, environment.episodes
        seeds = [derive(environment.seed, "start", i) for i in range(count)]
        self._games = [environment.make() for _ in seeds]
        self._shown = [
            game.reset(seed=seed)[0] for game, seed in zip(self._games, seeds, strict=True)
        ]
        self._others = {
            name: AttackedTeam(agent, None, torch.Generator().manual_seed(0))
            for name, agent in environment.others.items()
        }
        self._terminated = torch.zeros(count, dtype=torch.bool)
        self._frames = Frames()
        self._latest: Latest | None = None
        space = environment.example.observation_space
        self._views = {
            name: View(space(name), sight_of(agent)) for name, agent in environment.others.items()
        }
        self.running = torch.arange(count)
        self.observation = self._seen()

    @property
    def alive(self) -> Tensor:
        """Attacked agents that are in the game, boolean ``[running, agents]``."""
        names = self._environment.attacked
        games = [set(self._games[index].agents) for index in self.running.tolist()]
        return torch.tensor([[name in game for name in names] for game in games]).bool()

    @property
    def latest(self) -> Latest:
        """What the latest step brought."""
        if self._latest is None:
            raise ValueError("no step has been played; call step first")
        return self._latest

    def step(self, action: Tensor) -> None:
        """Play one step of every running episode with actions ``[running, agents, actions]``."""
        alive, shape = self.alive, action.shape[:2]
        reward, ended = torch.zeros(shape), torch.zeros(len(self.running), dtype=torch.bool)
        chosen = self._chosen_by_others()
        for row, index in enumerate(self.running.tolist()):
            orders = chosen[index] | self._orders(index, action[row])
            self._shown[index], gained, terminated, _, _ = self._games[index].step(orders)
            for place, name in enumerate(self._environment.attacked):
                reward[row, place] = float(gained.get(name, 0.0))
                ended[row] |= bool(terminated.get(name, False))
        self._frames.add(self.running, self.observation, action, reward, alive)
        left = self.alive
        over = ~left.any(1)
        cut = len(self._frames) == self._environment.limit
        stopped = over | cut
        self._terminated[self.running] = ended & over
        seen = self._seen()
        self._latest = Latest(seen, reward, ended & over, stopped & ~(ended & over))
        self.running = self.running[~stopped]
        self.observation = seen[~stopped] * left[~stopped].unsqueeze(-1)

    def record(self) -> TeamRecord:
        """Close the environments and return the record of the episodes."""
        for game in self._games:
            game.close()
        return team_record(self._frames, self._terminated, self._environment.solved_at)

    def _seen(self) -> Tensor:
        """What the attacked are shown in the running episodes; zeros if they are shown nothing."""
        view, names = self._environment.view, self._environment.attacked
        found = torch.zeros(len(self.running), len(names), view.features)
        places = [
            (row, place, self._shown[index][name])
            for row, index in enumerate(self.running.tolist())
            for place, name in enumerate(names)
            if name in self._shown[index]
        ]
        if places:
            rows, columns, raw = zip(*places, strict=True)
            found[list(rows), list(columns)] = view.sight(view.raw(raw))
        return found

    def _orders(self, index: int, action: Tensor) -> dict[str, Any]:
        """The actions of the attacked in one episode, by their names."""
        game = self._games[index]
        return {
            name: native_action(game.action_space(name), numbers)
            for name, numbers in zip(self._environment.attacked, action.numpy(), strict=True)
            if name in game.agents
        }

    def _chosen_by_others(self) -> dict[int, dict[str, Any]]:
        """The actions of the other agents, by episode and name; each policy acts in one batch."""
        chosen: dict[int, dict[str, Any]] = {index: {} for index in self.running.tolist()}
        for name, team in self._others.items():
            here = [index for index in chosen if name in self._games[index].agents]
            if not here:
                continue
            view = self._views[name]
            seen = view.sight(view.raw([self._shown[index][name] for index in here])).unsqueeze(1)
            for index, numbers in zip(here, team(seen, torch.tensor(here))[:, 0], strict=True):
                act = self._games[index].action_space(name)
                chosen[index][name] = native_action(act, numbers.numpy())
        return chosen
