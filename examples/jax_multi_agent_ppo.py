"""Robust PPO for a team on MPE simple_spread; the observed positions of the others are attacked.

Three agents with one shared actor cover three landmarks. A critic of all observations is used in
training. The adversary of each agent changes only the four features that hold the positions of the
others, and AAJR penalises the sensitivity in the directions of the attack. Everything from
environment to optimiser is one jitted program. It needs JaxMARL:
``pip install "aajr[jax]" flax chex && pip install --no-deps jaxmarl gymnax``.

    python examples/jax_multi_agent_ppo.py --updates 200
"""

from __future__ import annotations

import argparse
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jaxmarl
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

STEPS, ENVIRONMENTS, EPOCHS, MINIBATCHES = 25, 128, 4, 4
DISCOUNT, TRACE, CLIP, ENTROPY = 0.95, 0.95, 0.2, 0.01
METRIC = Categorical()
ENV = jaxmarl.make("MPE_simple_spread_v3")
AGENTS, FEATURES = 3, 18
OTHERS = jnp.zeros(FEATURES, bool).at[10:14].set(True)  # relative positions of the two others


class Carry(NamedTuple):
    """The state that one update passes to the next."""

    params: dict[str, list[Array]]
    moments: optax.OptState
    robust: MinimaxState
    key: Array


class Batch(NamedTuple):
    """The rollout, ``[steps, environments, agents, ...]`` and then ``[rows, agents, ...]``."""

    observation: Array
    action: Array
    log_prob: Array
    advantage: Array
    value: Array


def stacked(by_agent: dict[str, Array]) -> Array:
    """A dictionary over agents as one array, ``[environments, agents, ...]``."""
    return jnp.stack([by_agent[name] for name in ENV.agents], 1)


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
    """Logits of every agent, ``[..., agents, actions]``."""
    return network(params["actor"], x)


def critic(params: dict[str, list[Array]], x: Array) -> Array:
    """The team's value from all observations, ``[...]``."""
    return network(params["critic"], x.reshape(*x.shape[:-2], -1))[..., 0]


def log_prob_of(logits: Array, action: Array) -> Array:
    """Log-probability of the actions taken."""
    return jnp.take_along_axis(jax.nn.log_softmax(logits), action[..., None], -1)[..., 0]


def play(seen_to_action, environments: int, key: Array) -> tuple[Array, ...]:
    """One episode of 25 steps in each environment.

    Args:
        seen_to_action: map (observations ``[environments, agents, features]``, key) to actions.
        environments: number of environments.
        key: source of randomness.

    Returns:
        Observations, actions and the team's rewards, ``[steps, environments, ...]``.
    """

    def step(state: tuple, key: Array) -> tuple[tuple, tuple[Array, ...]]:
        seen, env_state = state
        for_action, for_env = jax.random.split(key)
        action = seen_to_action(seen, for_action)
        actions = {name: action[:, i] for i, name in enumerate(ENV.agents)}
        keys = jax.random.split(for_env, environments)
        after, env_state, reward, _, _ = jax.vmap(ENV.step)(keys, env_state, actions)
        return (stacked(after), env_state), (seen, action, stacked(reward).mean(1))

    first, second = jax.random.split(key)
    seen, env_state = jax.vmap(ENV.reset)(jax.random.split(first, environments))
    _, record = lax.scan(step, (stacked(seen), env_state), jax.random.split(second, STEPS))
    return record


def collect(params: dict, key: Array) -> Batch:
    """Whole episodes with generalised advantages; the team shares one advantage."""
    observation, action, reward = play(
        lambda seen, key: jax.random.categorical(key, actor(params, seen)), ENVIRONMENTS, key
    )
    value = critic(params, observation)

    def back(later: tuple[Array, Array], now: tuple[Array, Array]) -> tuple[tuple, Array]:
        advantage, next_value = later
        reward, value = now
        advantage = reward + DISCOUNT * (next_value + TRACE * advantage) - value
        return (advantage, value), advantage

    # the critic does not see the time limit that ends every episode: bootstrap with its last value
    last = (jnp.zeros(ENVIRONMENTS), value[-1])
    _, advantage = lax.scan(back, last, (reward, value), reverse=True)
    log_prob = log_prob_of(actor(params, observation), action)
    return Batch(observation, action, log_prob, advantage, value + advantage)


def clipped_surrogate(logits: Array, batch: Batch) -> Array:
    """The PPO loss of the policy with its entropy bonus, the same advantage for every agent."""
    ratio = jnp.exp(log_prob_of(logits, batch.action) - batch.log_prob)
    advantage = (batch.advantage - batch.advantage.mean()) / (batch.advantage.std() + 1e-8)
    advantage = advantage[:, None]
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
        return result.total + 0.01 * value_loss, result.state

    def learn(carry: Carry, batch: Batch) -> tuple[Carry, None]:
        gradient, state = jax.grad(loss, has_aux=True)(carry.params, batch, carry.robust)
        steps, moments = optimizer.update(gradient, carry.moments)
        params = optax.apply_updates(carry.params, steps)
        return carry._replace(params=params, moments=moments, robust=state), None

    def update(carry: Carry, _: None) -> tuple[Carry, None]:
        key, for_play, *for_orders = jax.random.split(carry.key, 2 + EPOCHS)
        played = collect(carry.params, for_play)
        rows = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), played)

        def epoch(carry: Carry, for_order: Array) -> tuple[Carry, None]:
            order = jax.random.permutation(for_order, STEPS * ENVIRONMENTS)
            parts = jax.tree.map(
                lambda leaf: leaf[order].reshape(MINIBATCHES, -1, *leaf.shape[1:]), rows
            )
            return lax.scan(learn, carry, parts)

        return lax.scan(epoch, carry._replace(key=key), jnp.stack(for_orders))

    return update


def train(epsilon: float, weight: float, updates: int, seed: int) -> dict[str, list[Array]]:
    """Train from scratch; ε = 0 with λ = 0 is plain PPO."""
    ball = Ball("linf", epsilon, mask=OTHERS)  # 1: every agent has a ball of its own
    attack = ProjectedGradientAscent(ball, Divergence(METRIC), steps=2)  # 2
    robust = Minimax(attack, AAJR(metric=METRIC), weight=weight)  # 3
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(1e-3))
    keys = jax.random.split(jax.random.key(seed), 4)
    params = {
        "actor": init_network(keys[0], (FEATURES, 64, 64, 5)),
        "critic": init_network(keys[1], (AGENTS * FEATURES, 64, 64, 1)),
    }
    carry = Carry(params, optimizer.init(params), robust.init(keys[2]), keys[3])
    update = make_update(robust, optimizer)
    carry, _ = jax.jit(lambda carry: lax.scan(update, carry, None, updates))(carry)
    return carry.params


@jax.jit
def evaluate(params: dict, epsilon: Array, key: Array) -> Array:
    """Mean return of greedy actions in 256 episodes while every observation is attacked."""
    ball = Ball("linf", epsilon, mask=OTHERS)
    attack = ProjectedGradientAscent(ball, Divergence(METRIC), steps=10)
    policy = partial(actor, params)

    def greedy(seen: Array, key: Array) -> Array:
        return policy(attack(policy, seen, key).worst).argmax(-1)

    _, _, reward = play(greedy, 256, key)
    return reward.sum(0).mean()


def main() -> None:
    """Train a plain and a robust policy, and attack both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--epsilon", type=float, default=0.5, help="radius in units of length")
    parser.add_argument("--weight", type=float, default=0.01, help="λ of the penalty")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name, epsilon, weight in (
        ("plain", 0.0, 0.0),
        ("robust", options.epsilon, options.weight),
    ):
        params = train(epsilon, weight, options.updates, options.seed)
        key = jax.random.fold_in(jax.random.key(options.seed), 1)
        clean, attacked = (float(evaluate(params, e, key)) for e in (0.0, options.epsilon))
        print(f"{name:<7} clean {clean:7.2f}   under attack {attacked:7.2f}")


if __name__ == "__main__":
    main()
