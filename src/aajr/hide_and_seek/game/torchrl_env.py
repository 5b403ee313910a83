"""Hide-and-seek through TorchRL."""

from __future__ import annotations

import torch

from aajr.hide_and_seek.game.actions import BINS, from_bins, in_range
from aajr.hide_and_seek.game.config import HideAndSeekConfig, Team
from aajr.hide_and_seek.game.scenario import HideAndSeek

try:
    from tensordict import TensorDict, TensorDictBase
    from torchrl.data import Binary, Composite
    from torchrl.envs.libs.vmas import VmasEnv
except ImportError as error:
    raise ImportError("make_torchrl_env needs TorchRL: pip install 'aajr[rl]'") from error

TEAMS: tuple[Team, Team] = ("hider", "seeker")


class HorizonVmasEnv(VmasEnv):  # type: ignore[misc]
    """A VmasEnv that reports its time limit as ``truncated``, as Gymnasium and PettingZoo do.

    Hide-and-seek ends only by its time limit, so ``terminated`` is always False. TorchRL's VmasEnv
    reports the time limit as ``terminated``.
    """

    def _make_specs(self, env: object) -> None:
        super()._make_specs(env)
        flags = {
            name: Binary(1, shape=(*self.batch_size, 1), dtype=torch.bool, device=self.device)
            for name in ("done", "terminated", "truncated")
        }
        self.done_spec = Composite(flags, shape=self.batch_size, device=self.device)

    def _step(self, tensordict: TensorDictBase) -> TensorDict:
        return _truncated(super()._step(tensordict))

    def _reset(self, tensordict: TensorDictBase | None = None, **kwargs: object) -> TensorDict:
        return _truncated(super()._reset(tensordict, **kwargs))


def _truncated(data: TensorDict) -> TensorDict:
    over = data["done"]
    data["terminated"], data["truncated"] = torch.zeros_like(over), over.clone()
    return data


class _TeamwiseVmasEnv(HorizonVmasEnv):
    """A HorizonVmasEnv that steps whole teams at once.

    VMAS and VmasEnv loop over the agents in Python, which takes longer than the game itself. This
    class takes and returns the same values under the same keys.
    """

    @property
    def scenario(self) -> HideAndSeek:
        """The game's scenario; TorchRL's own attribute lookup is slow and would run every step."""
        game: HideAndSeek = self._env.scenario
        return game

    def _step(self, tensordict: TensorDictBase) -> TensorDict:
        actions = torch.cat([tensordict.get((team, "action")) for team in TEAMS], 1)
        decode = from_bins if self.scenario.config.discrete else in_range
        self.scenario.act(decode(actions))
        self._env.steps += 1
        return self._teams("observation", "reward")

    def _reset(self, tensordict: TensorDictBase | None = None, **kwargs: object) -> TensorDict:
        chosen = None if tensordict is None else tensordict.get("_reset", None)
        if chosen is None or bool(chosen.all()):
            self._env.reset(return_observations=False)
        else:
            for index in chosen.flatten().nonzero().flatten().tolist():
                self._env.reset_at(index, return_observations=False)
        return self._teams("observation")

    def _set_seed(self, seed: int | None) -> None:
        if seed is not None:
            self.scenario.seed(seed)

    def _teams(self, *keys: str) -> TensorDict:
        done = (self._env.steps >= self._env.max_steps).unsqueeze(-1)
        data = _truncated(TensorDict({"done": done}, self.batch_size, self.device))
        for team in TEAMS:
            views = self.scenario.views(team)
            views["reward"] = views["reward"].unsqueeze(-1)
            info = TensorDict({"seen": views["seen"].unsqueeze(-1)}, views["seen"].shape)
            part = TensorDict({key: views[key] for key in keys}, views["seen"].shape)
            data[team] = part.set("info", info)
        return data

    def rand_action(self, tensordict: TensorDictBase | None = None) -> TensorDictBase:
        """Draw uniform actions of all agents at once; TorchRL's spec draws them one by one."""
        if not self.scenario.config.discrete:
            return super().rand_action(tensordict)
        if tensordict is None:
            tensordict = TensorDict({}, self.batch_size, self.device)
        for team, names in self.group_map.items():
            shape = (*self.batch_size, len(names), len(BINS))
            bins = torch.tensor(BINS, device=self.device)
            action = (torch.rand(shape, device=self.device) * bins).long()
            tensordict.set((team, "action"), action)
        return tensordict


def make_torchrl_env(
    config: HideAndSeekConfig,
    num_envs: int,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> VmasEnv:
    """Make hide-and-seek as a VmasEnv of TorchRL, with groups ``hider`` and ``seeker``.

    Args:
        config: the game.
        num_envs: number of games played in one batch.
        seed: seed of the initial states. The environment has a random stream of its own, which
            ``set_seed`` reseeds.
        device: device of the simulation.

    Returns:
        Environment with ``(group, "observation")`` ``[num_envs, team, features]`` and
        ``(group, "action")`` ``[num_envs, team, 4]`` (or 2 continuous ones); a step adds
        ``("next", group, "reward")`` and ``("next", group, "info", "seen")``, both
        ``[num_envs, team, 1]``, and ``("next", "done")`` ``[num_envs, 1]``. At the horizon
        ``truncated`` is True and ``terminated`` is not.

    Example:
        >>> env = make_torchrl_env(HideAndSeekConfig(), num_envs=2)
        >>> env.rollout(3)["hider", "observation"].shape
        torch.Size([2, 3, 5, 60])
    """
    scenario = HideAndSeek(config)
    scenario.seed(seed)
    return _TeamwiseVmasEnv(
        scenario,
        num_envs=num_envs,
        device=device,
        max_steps=config.max_steps,
        continuous_actions=not config.discrete,
        multidiscrete_actions=config.discrete,
        categorical_actions=True,
    )
