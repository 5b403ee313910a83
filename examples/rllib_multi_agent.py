"""Robust multi-agent PPO in RLlib: hiders train under attack, seekers train as usual.

    pip install 'aajr[rl,pettingzoo,rllib]'
    python examples/rllib_multi_agent.py --iterations 20

Two env runners collect rollouts; ``--learners 2`` updates in two processes.
"""

from __future__ import annotations

import argparse
import os

import ray
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv
from ray.tune.registry import register_env

import aajr
from aajr.hide_and_seek.game import HideAndSeekConfig, parallel_env
from aajr.integrations.rllib import Robustness, RobustPPOTorchLearner

TEAMS = ("hider", "seeker")


def team(agent_id: str, episode: object, **_: object) -> str:
    """The name of the module that acts for an agent."""
    return agent_id.split("_")[0]


def build(arguments: argparse.Namespace) -> PPOConfig:
    """The configuration of the run, with one policy for each team."""
    game = HideAndSeekConfig(max_steps=arguments.steps)
    register_env("hide_and_seek", lambda _: ParallelPettingZooEnv(parallel_env(game, seed=0)))
    hiders = Robustness(aajr.Ball("linf", arguments.epsilon), aajr.AAJR, weight=arguments.weight)
    return (
        PPOConfig()
        .environment("hide_and_seek")
        .env_runners(num_env_runners=arguments.runners)
        .multi_agent(policies=set(TEAMS), policy_mapping_fn=team)
        .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[64, 64]))
        .training(train_batch_size_per_learner=arguments.batch, minibatch_size=arguments.batch // 4)
        .learners(
            num_learners=arguments.learners,
            learner_class=RobustPPOTorchLearner,
            learner_config_dict={"aajr": {"hider": hiders, "seeker": None}},
        )
        .debugging(seed=arguments.seed)
    )


def main() -> None:
    """Train and print the results of every iteration."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--runners", type=int, default=2)
    parser.add_argument("--learners", type=int, default=0, help="0 updates in this process")
    parser.add_argument("--batch", type=int, default=1000, help="environment steps of a learner")
    parser.add_argument("--steps", type=int, default=100, help="of an episode")
    parser.add_argument("--epsilon", type=float, default=0.1, help="L∞, observation units")
    parser.add_argument("--weight", type=float, default=0.001)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    # RLlib waits for one core per process; declare enough of them, also on a small machine
    processes = arguments.runners + arguments.learners + 1
    ray.init(num_cpus=max(processes, os.cpu_count() or 1), ignore_reinit_error=True)
    algorithm = build(arguments).build_algo()
    for iteration in range(arguments.iterations):
        result = algorithm.train()
        learned = result["learners"]["hider"]
        print(
            f"{iteration}: return {result['env_runners'].get('episode_return_mean', 0.0):.1f}, "
            f"hiders' penalty {learned['aajr_penalty']:.4f}, "
            f"inner gradient {learned['aajr_inner_gradient_norm_mean']:.4f}",
            flush=True,
        )
    algorithm.stop()


if __name__ == "__main__":
    main()
