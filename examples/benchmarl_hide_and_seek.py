"""MAPPO in BenchMARL on hide-and-seek, with the penalty on the hiders.

It needs a Python environment of its own for BenchMARL, see docs/benchmarl.md:

    python examples/benchmarl_hide_and_seek.py --iterations 10
"""

from __future__ import annotations

import argparse
import tempfile

from benchmarl.algorithms import MappoConfig
from benchmarl.experiment import Experiment, ExperimentConfig
from benchmarl.models.mlp import MlpConfig

import aajr
from aajr.hide_and_seek.game.benchmarl_task import HideAndSeekTask
from aajr.integrations.benchmarl import Robustness, robustify


def main() -> None:
    """Run one experiment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--epsilon", type=float, default=0.1)
    parser.add_argument("--weight", type=float, default=0.001)
    parser.add_argument("--output", default=tempfile.mkdtemp(), help="BenchMARL's folder")
    arguments = parser.parse_args()
    hiders = Robustness(
        aajr.Ball("linf", arguments.epsilon),
        aajr.AAJR,
        weight=arguments.weight,
        groups=("hider",),
    )
    config = ExperimentConfig.get_from_yaml()
    config.max_n_iters, config.max_n_frames = arguments.iterations, None
    config.on_policy_collected_frames_per_batch = 2000
    config.on_policy_n_envs_per_worker = 20
    config.on_policy_n_minibatch_iters = 4
    config.on_policy_minibatch_size = 500
    config.render, config.evaluation, config.loggers = False, False, []
    config.save_folder = arguments.output
    Experiment(
        task=HideAndSeekTask.HIDE_AND_SEEK.get_task(),
        algorithm_config=robustify(MappoConfig.get_from_yaml(), hiders),
        model_config=MlpConfig.get_from_yaml(),
        critic_model_config=MlpConfig.get_from_yaml(),
        seed=0,
        config=config,
    ).run()


if __name__ == "__main__":
    main()
