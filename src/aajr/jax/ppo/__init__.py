"""PPO for continuous control in JAX, plain or robust: one compiled update."""

from aajr.jax.ppo._config import PPOConfig
from aajr.jax.ppo._learner import Learner, Rollout, advantages, init_learner, update
from aajr.jax.ppo._moments import Moments
from aajr.jax.ppo._networks import log_probability, policy, value
from aajr.jax.ppo._training import Line, Progress, Trained, train

__all__ = [
    "Learner",
    "Line",
    "Moments",
    "PPOConfig",
    "Progress",
    "Rollout",
    "Trained",
    "advantages",
    "init_learner",
    "log_probability",
    "policy",
    "train",
    "update",
    "value",
]
