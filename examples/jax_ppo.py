"""Robust PPO on CartPole: environment, attack, penalty and optimiser in one jitted program.

Plain PPO and robust PPO differ by the lines marked 1 to 4. The adversary perturbs the policy's
observations, within ε units of SCALE per feature, to change its action distribution the most. The
PPO loss is computed at the perturbed observations, and AAJR penalises the sensitivity in the
directions of the attack. It needs gymnax:
``pip install "aajr[jax]" flax && pip install --no-deps gymnax``.

    python examples/jax_ppo.py --updates 150
"""

from __future__ import annotations

import argparse
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import gymnax
import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

from aajr.jax import (
    AAJR,
    Ball,
    Categorical,
    Divergence,
    Minimax,
    MinimaxState,
    ProjectedGradientAscent,
)

STEPS, ENVIRONMENTS, EPOCHS, MINIBATCHES = 64, 64, 4, 8
DISCOUNT, TRACE, CLIP, ENTROPY = 0.99, 0.95, 0.2, 0.01
SCALE = jnp.array([0.5, 0.5, 0.05, 0.5])  # per unit of ε: position, velocity, angle, angular speed
METRIC = Categorical()
ENV, ENV_PARAMS = gymnax.make("CartPole-v1")


class Carry(NamedTuple):
    """The state that one update passes to the next."""

    params: dict[str, list[Array]]
    moments: optax.OptState
    robust: MinimaxState
    observation: Array
    env_state: object
    key: Array


class Batch(NamedTuple):
    """The rollout, ``[steps, environments, ...]`` and then ``[rows, ...]``."""

    observation: Array
    action: Array
    log_prob: Array
    advantage: Array
    value: Array


def init_network(key: Array, sizes: tuple[int, ...]) -> list[Array]:
    """Orthogonal weights, the last layer small."""
    keys, pairs = jax.random.split(key, len(sizes) - 1), list(pairwise(sizes))
    scales = [1.4] * (len(pairs) - 1) + [0.1]
    shapes = zip(keys, pairs, scales, strict=True)
    weights = [scale * jax.nn.initializers.orthogonal()(k, pair) for k, pair, scale in shapes]
    return [part for w in weights for part in (w, jnp.zeros(w.shape[1]))]


def network(params: list[Array], x: Array) -> Array:
    """A tanh network."""
    *hidden, (weight, bias) = zip(params[::2], params[1::2], strict=True)
    for inner, inner_bias in hidden:
        x = jnp.tanh(x @ inner + inner_bias)
    return x @ weight + bias


def actor(params: dict[str, list[Array]], x: Array) -> Array:
    """Logits of the actions."""
    return network(params["actor"], x)


def critic(params: dict[str, list[Array]], x: Array) -> Array:
    """Values, ``[...]``."""
    return network(params["critic"], x)[..., 0]


def log_prob_of(logits: Array, action: Array) -> Array:
    """Log-probability of the actions taken."""
    return jnp.take_along_axis(jax.nn.log_softmax(logits), action[..., None], -1)[..., 0]


def collect(carry: Carry) -> tuple[Carry, Batch]:
    """Continue all environments and compute generalised advantages."""

    def step(carry: Carry, _: None) -> tuple[Carry, tuple[Array, ...]]:
        key, for_action, for_env = jax.random.split(carry.key, 3)
        logits = actor(carry.params, carry.observation)
        action = jax.random.categorical(for_action, logits)
        keys = jax.random.split(for_env, ENVIRONMENTS)
        play = jax.vmap(ENV.step, (0, 0, 0, None))
        seen, state, reward, ended, cut, info = play(keys, carry.env_state, action, ENV_PARAMS)
        # at the time limit, bootstrap with the critic's value of the final observation
        reward = reward + DISCOUNT * cut * critic(carry.params, info["final_observation"])
        value, done = critic(carry.params, carry.observation), ended | cut
        record = (carry.observation, action, log_prob_of(logits, action), value, reward, done)
        return carry._replace(key=key, observation=seen, env_state=state), record

    carry, (observation, action, log_prob, value, reward, done) = lax.scan(step, carry, None, STEPS)

    def back(later: tuple[Array, Array], now: tuple[Array, ...]) -> tuple[tuple, Array]:
        advantage, next_value = later
        reward, value, done = now
        error = reward + DISCOUNT * next_value * (1 - done) - value
        advantage = error + DISCOUNT * TRACE * (1 - done) * advantage
        return (advantage, value), advantage

    last = (jnp.zeros(ENVIRONMENTS), critic(carry.params, carry.observation))
    _, advantage = lax.scan(back, last, (reward, value, done), reverse=True)
    return carry, Batch(observation, action, log_prob, advantage, value + advantage)


def clipped_surrogate(logits: Array, batch: Batch) -> Array:
    """The PPO loss of the policy with its entropy bonus."""
    ratio = jnp.exp(log_prob_of(logits, batch.action) - batch.log_prob)
    advantage = (batch.advantage - batch.advantage.mean()) / (batch.advantage.std() + 1e-8)
    gain = jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - CLIP, 1 + CLIP) * advantage)
    entropy = -(METRIC.probabilities(logits) * METRIC.log_probabilities(logits)).sum(-1)
    return -(gain + ENTROPY * entropy).mean()


def make_update(robust: Minimax, optimizer: optax.GradientTransformation):
    """One PPO update: collect a rollout, then run epochs of minibatches."""

    def loss(params: dict, batch: Batch, state: MinimaxState) -> tuple[Array, MinimaxState]:
        policy = partial(actor, params)
        task = partial(clipped_surrogate, batch=batch)
        result = robust(policy, batch.observation, task, state=state)  # 4
        value_loss = jnp.square(critic(params, batch.observation) - batch.value).mean()
        return result.total + 0.5 * value_loss, result.state

    def learn(carry: Carry, batch: Batch) -> tuple[Carry, None]:
        gradient, state = jax.grad(loss, has_aux=True)(carry.params, batch, carry.robust)
        steps, moments = optimizer.update(gradient, carry.moments)
        params = optax.apply_updates(carry.params, steps)
        return carry._replace(params=params, moments=moments, robust=state), None

    def update(carry: Carry, _: None) -> tuple[Carry, None]:
        carry, played = collect(carry)
        rows = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), played)

        def epoch(carry: Carry, _: None) -> tuple[Carry, None]:
            key, for_order = jax.random.split(carry.key)
            order = jax.random.permutation(for_order, STEPS * ENVIRONMENTS)
            parts = jax.tree.map(
                lambda leaf: leaf[order].reshape(MINIBATCHES, -1, *leaf.shape[1:]), rows
            )
            return lax.scan(learn, carry._replace(key=key), parts)

        return lax.scan(epoch, carry, None, EPOCHS)

    return update


def train(epsilon: float, weight: float, updates: int, seed: int) -> dict[str, list[Array]]:
    """Train from scratch; ε = 0 with λ = 0 is plain PPO."""
    ball = Ball("linf", epsilon, scale=SCALE)  # 1
    attack = ProjectedGradientAscent(ball, Divergence(METRIC), steps=2)  # 2
    robust = Minimax(attack, AAJR(metric=METRIC), weight=weight)  # 3
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(1e-3))
    keys = jax.random.split(jax.random.key(seed), 5)
    params = {
        "actor": init_network(keys[0], (4, 64, 64, 2)),
        "critic": init_network(keys[1], (4, 64, 64, 1)),
    }
    reset = jax.vmap(ENV.reset, (0, None))
    seen, env_state = reset(jax.random.split(keys[2], ENVIRONMENTS), ENV_PARAMS)
    moments = optimizer.init(params)
    carry = Carry(params, moments, robust.init(keys[3]), seen, env_state, keys[4])
    update = make_update(robust, optimizer)
    carry, _ = jax.jit(lambda carry: lax.scan(update, carry, None, updates))(carry)
    return carry.params


@partial(jax.jit, static_argnames="episodes")
def evaluate(params: dict, epsilon: Array, key: Array, episodes: int = 64) -> Array:
    """Mean return of greedy actions while every observation is attacked."""
    attack = ProjectedGradientAscent(
        Ball("linf", epsilon, scale=SCALE), Divergence(METRIC), steps=10, restarts=2, select="best"
    )

    def step(state: tuple, key: Array) -> tuple[tuple, Array]:
        seen, env_state, alive = state
        first, second = jax.random.split(key)
        shown = attack(partial(actor, params), seen, first).worst
        action = actor(params, shown).argmax(-1)
        keys = jax.random.split(second, episodes)
        play = jax.vmap(ENV.step, (0, 0, 0, None))
        seen, env_state, reward, ended, cut, _ = play(keys, env_state, action, ENV_PARAMS)
        return (seen, env_state, alive & ~(ended | cut)), reward * alive

    first, second = jax.random.split(key)
    reset = jax.vmap(ENV.reset, (0, None))
    start = (*reset(jax.random.split(first, episodes), ENV_PARAMS), jnp.ones(episodes, bool))
    _, rewards = lax.scan(step, start, jax.random.split(second, 500))
    return rewards.sum(0).mean()


def main() -> None:
    """Train a plain and a robust policy, and attack both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", type=int, default=150)
    parser.add_argument("--epsilon", type=float, default=0.5, help="radius in units of SCALE")
    parser.add_argument("--weight", type=float, default=0.003, help="λ of the penalty")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name, epsilon, weight in (
        ("plain", 0.0, 0.0),
        ("robust", options.epsilon, options.weight),
    ):
        params = train(epsilon, weight, options.updates, options.seed)
        key = jax.random.fold_in(jax.random.key(options.seed), 1)
        clean, attacked = (float(evaluate(params, e, key)) for e in (0.0, options.epsilon))
        print(f"{name:<7} clean {clean:6.1f}   under attack {attacked:6.1f}")


if __name__ == "__main__":
    main()
