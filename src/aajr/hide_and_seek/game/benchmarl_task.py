"""Hide-and-seek as a task of BenchMARL; importing this module registers it there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from benchmarl.environments import VmasClass, task_config_registry
from benchmarl.environments.common import Task
from torchrl.envs import EnvBase

from aajr.hide_and_seek.game import HideAndSeek, HideAndSeekConfig
from aajr.hide_and_seek.game.torchrl_env import HorizonVmasEnv


class HideAndSeekClass(VmasClass):  # type: ignore[misc]
    """BenchMARL's VMAS task with our scenario; hiders and seekers are its two groups."""

    def get_env_fun(
        self, num_envs: int, continuous_actions: bool, seed: int | None, device: Any
    ) -> Callable[[], EnvBase]:
        """A function that makes the environment."""
        config = dataclasses.replace(self.game, discrete=not continuous_actions)

        def make() -> EnvBase:
            return HorizonVmasEnv(
                scenario=HideAndSeek(config),
                num_envs=num_envs,
                continuous_actions=continuous_actions,
                seed=seed,
                device=device,
                max_steps=config.max_steps,
                categorical_actions=True,
                clamp_actions=True,
            )

        return make

    @property
    def game(self) -> HideAndSeekConfig:
        """The game that the task's config describes."""
        known = {field.name for field in dataclasses.fields(HideAndSeekConfig)}
        unknown = set(self.config) - known
        if unknown:
            raise ValueError(
                f"task config has unknown fields {sorted(unknown)}; known: {sorted(known)}"
            )
        return HideAndSeekConfig(**self.config)

    def max_steps(self, env: EnvBase) -> int:
        """Steps of an episode."""
        return self.game.max_steps

    def has_render(self, env: EnvBase) -> bool:
        """False: ``aajr watch`` draws the game, not VMAS's window."""
        return False

    @staticmethod
    def env_name() -> str:
        """Name of the environment in ``task=aajr/hide_and_seek``."""
        return "aajr"


class HideAndSeekTask(Task):  # type: ignore[misc]
    """The enum of this library's tasks that BenchMARL asks for."""

    HIDE_AND_SEEK = None

    @staticmethod
    def associated_class() -> type[HideAndSeekClass]:
        """The class of the task."""
        return HideAndSeekClass

    def get_from_yaml(self, path: str | None = None) -> HideAndSeekClass:
        """The task with the game's own defaults, or with those of a file."""
        if path is not None:
            return super().get_from_yaml(path)
        return HideAndSeekClass(name=self.name, config={})


task_config_registry["aajr/hide_and_seek"] = HideAndSeekTask.HIDE_AND_SEEK
