"""Updates per second of the jitted robust update against the torch side's, interleaved."""

import statistics
import time

import jax
import jax.numpy as jnp
import optax
import pytest
import torch
from torch import nn

import aajr
import aajr.jax as aj
from benchmarks.recording import record

BATCH, FEATURES, ACTIONS, RADIUS, ROUNDS = 4096, 53, 26, 0.1, 40


def torch_update(steps, penalty):
    net = nn.Sequential(
        nn.Linear(FEATURES, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, ACTIONS)
    )
    x, y = torch.randn(BATCH, FEATURES), torch.randint(ACTIONS, (BATCH,))
    attack = aajr.ProjectedGradientAscent(aajr.Ball("linf", RADIUS), steps=steps)
    robust = aajr.Minimax(attack, aajr.AAJR() if penalty else None, weight=0.1)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)

    def update():
        loss = robust(net, x, lambda u: nn.functional.cross_entropy(u, y)).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return update


def jax_update(steps, penalty):
    sizes = [(FEATURES, 64), (64, 64), (64, ACTIONS)]
    keys = jax.random.split(jax.random.key(0), 6)
    params = [
        (jax.random.normal(k, s) / s[0] ** 0.5, jnp.zeros(s[1]))
        for k, s in zip(keys, sizes, strict=False)
    ]
    x = jax.random.normal(keys[3], (BATCH, FEATURES))
    y = jax.random.randint(keys[4], (BATCH,), 0, ACTIONS)
    attack = aj.ProjectedGradientAscent(aj.Ball("linf", RADIUS), steps=steps)
    robust = aj.Minimax(attack, aj.AAJR() if penalty else None, weight=0.1)
    optimizer = optax.adam(1e-4)

    def apply(params, x):
        *hidden, (weight, bias) = params
        for inner, inner_bias in hidden:
            x = jnp.tanh(x @ inner + inner_bias)
        return x @ weight + bias

    def loss(params, state):
        def task(logits):
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

        result = robust(lambda x: apply(params, x), x, task, state=state)
        return result.total, result.state

    @jax.jit
    def step(params, moments, state):
        gradient, state = jax.grad(loss, has_aux=True)(params, state)
        change, moments = optimizer.update(gradient, moments)
        return optax.apply_updates(params, change), moments, state

    carry = [params, optimizer.init(params), robust.init(keys[5])]

    def update():
        carry[:] = jax.block_until_ready(step(*carry))

    return update


@pytest.mark.parametrize("steps", [1, 5])
def test_updates_per_second(benchmark, steps):
    sides = {
        (name, penalty): make(steps, penalty)
        for name, make in (("torch", torch_update), ("jax", jax_update))
        for penalty in (False, True)
    }
    seconds = {side: [] for side in sides}
    for update in sides.values():
        for _ in range(3):
            update()

    def once():
        for side, update in sides.items():
            began = time.perf_counter()
            update()
            seconds[side].append(time.perf_counter() - began)

    benchmark.pedantic(once, rounds=ROUNDS)
    rates = {side: 1 / statistics.median(taken) for side, taken in seconds.items()}
    record(
        f"jax_{steps}_steps",
        {
            "threads": torch.get_num_threads(),
            "batch": BATCH,
            **{f"{name}_aajr_{penalty}": rate for (name, penalty), rate in rates.items()},
            "ratio_without": rates["jax", False] / rates["torch", False],
            "ratio_with": rates["jax", True] / rates["torch", True],
            "aajr_extra_torch": rates["torch", False] / rates["torch", True] - 1,
            "aajr_extra_jax": rates["jax", False] / rates["jax", True] - 1,
        },
    )
