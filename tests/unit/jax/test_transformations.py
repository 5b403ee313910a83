"""jit, vmap and grad go through; nothing leaks into the parameters' gradient."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajr.jax import (
    AAJR,
    ERNIE,
    Ball,
    Categorical,
    Frobenius,
    InputGradient,
    ProjectedGradientAscent,
    RandomDirection,
    Spectral,
    StateAdversarial,
    UniformNoise,
    diagnose,
)
from tests.jax_sides import compiled_quickly

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (8, 5))
PARAMS = tuple(
    jax.random.normal(k, s) / 2
    for k, s in zip(jax.random.split(jax.random.key(2)), [(5, 6), (6, 3)], strict=True)
)
BALL = Ball("l2", 0.5)


@pytest.fixture(autouse=True, scope="module")
def quick():
    with compiled_quickly():
        yield


def total(output, reference):
    return output.sum(1)


PENALTIES = {
    "aajr": AAJR(fraction=0.5),
    "gradient": AAJR(direction="gradient", points="trajectory", gamma=0.1),
    "random": RandomDirection(),
    "frobenius": Frobenius(metric=Categorical(), projections=2),
    "spectral": Spectral(estimator="forward_difference"),
    "ernie": ERNIE(ball=BALL),
    "sa": StateAdversarial(metric=Categorical()),
    "input gradient": InputGradient(objective=total),
}
ATTACKS = {
    "noise": UniformNoise(BALL),
    "fixed": ProjectedGradientAscent(BALL),
    "best": ProjectedGradientAscent(BALL, restarts=3, select="best", keep_outputs=True),
    "stable": ProjectedGradientAscent(Ball("linf", 0.5), step_rule="stable"),
    "backtracking": ProjectedGradientAscent(BALL, step_rule="backtracking"),
}
every_penalty = pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)
every_attack = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)


def apply(params, x):
    return jnp.tanh(x @ params[0]) @ params[1]


def policy(x):
    return apply(PARAMS, x)


def assert_close(found, expected):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5), found, expected
    )


@every_attack
def test_a_jitted_attack_is_the_eager_one_and_stays_in_the_ball(attack):
    eager = attack(policy, X, KEY)
    jitted = jax.jit(lambda attack, params: attack(lambda x: apply(params, x), X, KEY))
    assert_close(jitted(attack, PARAMS), eager)
    assert bool((attack.ball.size(eager.points - X) <= 0.5 * (1 + 1e-5)).all())
    losses = eager.losses
    if isinstance(attack, ProjectedGradientAscent) and attack.step_rule != "fixed":
        assert bool((jnp.diff(losses, axis=0) >= 0).all())


@pytest.mark.parametrize("name", ["best", "backtracking"])
def test_one_attack_for_each_member_of_an_ensemble(name):
    attack = ATTACKS[name]
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf / 2]), PARAMS)
    together = jax.vmap(lambda params: attack(lambda x: apply(params, x), X, KEY))(stacked)
    alone = attack(lambda x: apply(jax.tree.map(lambda leaf: leaf / 2, PARAMS), x), X, KEY)
    for name in ("points", "gradients", "losses", "worst"):
        assert_close(getattr(together, name)[1], getattr(alone, name))


@pytest.mark.parametrize("name", ["best", "stable"])
def test_the_trajectory_is_constant_for_the_parameters(name):
    attack = ATTACKS[name]

    def size(params):
        trajectory = attack(lambda x: apply(params, x), X, KEY)
        trajectory = dataclasses.replace(trajectory, outputs=None)
        floats = [leaf for leaf in jax.tree.leaves(trajectory) if jnp.ndim(leaf) > 1]
        return sum(leaf.sum() for leaf in floats)

    assert all(not g.any() for g in jax.grad(size)(PARAMS))


def test_the_inner_loop_carries_no_derivative_for_the_parameters():
    """The scan of the search is the same program with and without a gradient for θ."""

    def loss(params):
        return apply(params, ATTACKS["fixed"](lambda x: apply(params, x), X, KEY).worst).sum()

    plain = jax.make_jaxpr(loss)(PARAMS)
    differentiated = jax.make_jaxpr(jax.grad(loss))(PARAMS)

    def scan_of(program):
        return next(e for e in program.eqns if e.primitive.name == "scan")

    assert len(scan_of(differentiated).outvars) == len(scan_of(plain).outvars)


@every_penalty
def test_a_jitted_penalty_is_the_eager_one(penalty):
    trajectory = ATTACKS["fixed"](policy, X, KEY)

    def value(params, penalty, trajectory):
        return penalty(lambda x: apply(params, x), trajectory, KEY)

    found, gradient = jax.jit(jax.value_and_grad(value))(PARAMS, penalty, trajectory)
    assert_close(found, value(PARAMS, penalty, trajectory))
    assert float(found) > 0
    assert all(bool(g.any()) and bool(jnp.isfinite(g).all()) for g in gradient)


@pytest.mark.parametrize("name", ["random", "sa"])
def test_an_interval_is_unbiased_with_a_traced_update(name):
    penalty = PENALTIES[name]
    trajectory = ATTACKS["fixed"](policy, X, KEY)
    seldom = dataclasses.replace(penalty, interval=3)
    values = jax.jit(lambda n: seldom(policy, trajectory, KEY, n))
    measured = seldom(policy, trajectory, KEY)
    np.testing.assert_allclose(values(6), 3 * measured, rtol=1e-4)
    assert float(values(7)) == float(seldom(policy, trajectory, KEY, 7)) == 0


def test_a_fraction_takes_distinct_rows():
    rows = jnp.arange(8.0)
    weights = jnp.ones((1, 5))
    trajectory = UniformNoise(BALL)(lambda x: x, X, KEY)
    trajectory = dataclasses.replace(trajectory, worst=trajectory.origin + rows[:, None] * weights)
    penalty = StateAdversarial(fraction=0.5)
    values = penalty.values(lambda x: x, trajectory, jax.random.key(5))
    drawn = {round(float(value)) for value in jnp.sqrt(2 * values / 5)}
    assert len(values) == len(drawn) == 4
    assert drawn <= set(range(8))
    means = jax.vmap(lambda k: penalty(lambda x: x, trajectory, k))(jax.random.split(KEY, 300))
    everything = float(StateAdversarial()(lambda x: x, trajectory, KEY))
    assert abs(np.mean(means) - everything) < 4 * np.std(means) / 300**0.5


@every_penalty
def test_a_row_alone_is_the_row_in_the_batch(penalty):
    whole = dataclasses.replace(penalty, fraction=1.0)
    trajectory = ATTACKS["fixed"](policy, X, KEY)
    observed = whole.observe(trajectory)
    draws = observed.draw(trajectory, KEY)
    together = observed.per_sample(policy, trajectory, draws)
    index = jnp.array([3])
    axis = {"frobenius": 1, "random": 1, "spectral": 0, "ernie": 0}
    name = next(name for name, other in PENALTIES.items() if other is penalty)
    own = None if draws is None else jnp.take(draws, index, axis=axis[name])
    alone = observed.per_sample(policy, trajectory.rows(index), own)
    np.testing.assert_allclose(alone[0], together[3], rtol=5e-4)


@pytest.mark.parametrize(
    "ball", [Ball("l2", 0.0), Ball("l2", 0.0, low=-1.0, scale=jnp.ones(5) / 2), Ball("linf", 0.0)]
)
def test_no_radius_means_no_step(ball):
    still = ProjectedGradientAscent(ball, step_size=0.1)
    points = jax.jit(lambda attack: attack(policy, X, KEY).points)(still)
    assert bool((points == X).all())


def test_samples_are_uniform():
    from scipy.stats import kstest

    x = jnp.zeros((4000, 3))
    radius = Ball("l2", 0.3).size(Ball("l2", 0.3).sample(x, KEY)) / 0.3
    assert kstest(np.asarray(radius) ** 3, "uniform").pvalue > 0.01
    box = Ball("linf", 0.3, low=-0.1).sample(x, KEY)
    assert kstest(np.asarray(box[:, 0]), "uniform", (-0.1, 0.4)).pvalue > 0.01


def test_the_running_mean_is_carried_by_observing():
    trajectory = ATTACKS["fixed"](policy, X, KEY)
    mean = float(jnp.square(trajectory.gradients[-1]).sum(1).mean())
    double = dataclasses.replace(trajectory, gradients=2 * trajectory.gradients)
    first = AAJR(direction="gradient").observe(trajectory)
    second = first.observe(double)
    np.testing.assert_allclose(first.gradient_scale.value, mean, rtol=1e-5)
    np.testing.assert_allclose(second.gradient_scale.value, 0.99 * mean + 0.04 * mean, rtol=1e-5)


def test_diagnostics_of_a_known_jacobian():
    stretch = jnp.array([3.0, 2.0])
    attack = ProjectedGradientAscent(BALL, lambda output, reference: output[:, 1])
    x = jnp.ones((256, 2))
    trajectory = attack(lambda x: x * stretch, x, KEY)
    found = diagnose(lambda x: x * stretch, trajectory, KEY, projections=50)
    expected = {"aligned": 4, "frobenius": 13, "spectral": 9, "stable_rank": 13 / 9}
    for name, value in expected.items():
        assert float(found[name]) == pytest.approx(value, rel=0.05)
