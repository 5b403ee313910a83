"""BenchMARL's Hydra command with the penalty: ``python -m aajr.integrations.benchmarl``.

Every option of BenchMARL's own command works. The nodes ``robustness`` and ``tasks`` (a list of
modules that register tasks) are added:

    python -m aajr.integrations.benchmarl algorithm=mappo task=aajr/hide_and_seek \
        robustness.epsilon=0.1 robustness.weight=0.01
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import hydra
from benchmarl import hydra_config
from benchmarl.experiment import Experiment
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

import aajr
from aajr._checks import check_choice
from aajr.integrations.benchmarl import Robustness, robustify
from aajr.penalties import Penalty

PENALTIES: dict[str, type[Penalty]] = {
    "aajr": aajr.AAJR,
    "frobenius": aajr.Frobenius,
    "spectral": aajr.Spectral,
    "random_direction": aajr.RandomDirection,
}


def robustness_of(node: Mapping[str, Any]) -> Robustness:
    """The settings that a Hydra node describes."""
    check_choice("robustness.penalty", node["penalty"], tuple(PENALTIES))
    groups = node["groups"]
    return Robustness(
        aajr.Ball(node["norm"], node["epsilon"]),
        PENALTIES[node["penalty"]],
        weight=node["weight"],
        groups=None if groups is None else tuple(groups),
        seed=node["seed"],
    )


def experiment_of(config: DictConfig, task: str) -> Experiment:
    """BenchMARL's experiment with the algorithm made robust."""
    for module in config.tasks:
        importlib.import_module(module)
    algorithm = hydra_config.load_algorithm_config_from_hydra(config.algorithm)
    return Experiment(
        task=hydra_config.load_task_config_from_hydra(config.task, task),
        algorithm_config=robustify(algorithm, robustness_of(config.robustness)),
        model_config=hydra_config.load_model_config_from_hydra(config.model),
        critic_model_config=hydra_config.load_model_config_from_hydra(config.critic_model),
        seed=config.seed,
        config=hydra_config.load_experiment_config_from_hydra(config.experiment),
    )


@hydra.main(version_base=None, config_path="conf", config_name="robust")  # type: ignore[untyped-decorator]
def main(config: DictConfig) -> None:
    """Run one experiment."""
    experiment_of(config, HydraConfig.get().runtime.choices.task).run()


if __name__ == "__main__":
    main()
