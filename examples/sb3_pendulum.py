"""Robust PPO in Stable-Baselines3: train, save without pickle, attack.

pip install 'aajr[mujoco]'
python examples/sb3_pendulum.py --steps 60000
"""

from __future__ import annotations

import argparse

import gymnasium
import torch
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

import aajr
from aajr.integrations.sb3 import RobustPPO, SavedAgent, load_agent, save_agent


def play(agent: SavedAgent, adversary: aajr.Adversary | None, seed: int) -> float:
    """Return of one episode; the adversary changes the policy's observations."""
    env = gymnasium.make("InvertedPendulum-v5")
    observation, _ = env.reset(seed=seed)
    generator, total, over = torch.Generator().manual_seed(seed), 0.0, False
    while not over:
        x = agent.normalise(observation[None])
        if adversary is not None:
            x = adversary(agent.policy, x, generator).worst
        observation, reward, terminated, truncated, _ = env.step(agent.act(x)[0].numpy())
        total, over = total + float(reward), terminated or truncated
    return total


def main() -> None:
    """Train with the penalty, then compare clean and attacked episodes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=60_000)
    parser.add_argument("--epsilon", type=float, default=0.3, help="in standard deviations")
    parser.add_argument("--weight", type=float, default=0.1)
    parser.add_argument("--output", default="agent")
    arguments = parser.parse_args()
    ball = aajr.Ball("linf", arguments.epsilon)
    env = VecNormalize(make_vec_env("InvertedPendulum-v5", n_envs=8))
    agent = RobustPPO(
        "MlpPolicy",
        env,
        adversary=ball,
        penalty=aajr.AAJR,
        penalty_weight=arguments.weight,
        placement="clean",
        n_steps=256,
        seed=0,
        device="cpu",
    )
    agent.learn(arguments.steps)
    saved = load_agent(save_agent(arguments.output, agent))
    attack = aajr.ProjectedGradientAscent(ball, aajr.Divergence(saved.metric), steps=10)
    print(f"return {play(saved, None, 0):.0f}, attacked {play(saved, attack, 0):.0f}")
    print(f"saved in {arguments.output}: {dict(saved.robustness or {})}")


if __name__ == "__main__":
    main()
