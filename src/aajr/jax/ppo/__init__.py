"""PPO for continuous control in JAX, plain or robust, and learned adversaries of its agents."""

from aajr.jax.ppo._attackers import train_attacker
from aajr.jax.ppo._bounds import BoundedDivergence, Corner, Interval, bounds
from aajr.jax.ppo._config import PPOConfig, Ramp
from aajr.jax.ppo._learner import Learner, Robust, Rollout, advantages, init_learner, update
from aajr.jax.ppo._moments import Moments
from aajr.jax.ppo._networks import log_probability, policy, value
from aajr.jax.ppo._opponents import Opponent, perturbed
from aajr.jax.ppo._player import Player, load_player
from aajr.jax.ppo._run import Line, Progress
from aajr.jax.ppo._training import Trained, train

__all__ = [
    "BoundedDivergence",
    "Corner",
    "Interval",
    "Learner",
    "Line",
    "Moments",
    "Opponent",
    "PPOConfig",
    "Player",
    "Progress",
    "Ramp",
    "Robust",
    "Rollout",
    "Trained",
    "advantages",
    "bounds",
    "init_learner",
    "load_player",
    "log_probability",
    "perturbed",
    "policy",
    "train",
    "train_attacker",
    "update",
    "value",
]
