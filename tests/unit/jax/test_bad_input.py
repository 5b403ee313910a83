"""Every refusal names the parameter, its value and the remedy; shapes and dtypes inside jit too."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from aajr import jax as aj

KEY = jax.random.key(0)
X = jnp.ones((4, 3))
BALL = aj.Ball("l2", 0.1)
PGD = aj.ProjectedGradientAscent(BALL)


def identity(x):
    return x


def attack(x=X, key=KEY, policy=identity, data=None, pgd=PGD):
    return pgd(policy, x, key, data)


SETTINGS = {
    r"norm='l1' is unknown; choose one of 'l2', 'linf'": lambda: aj.Ball("l1", 0.1),
    r"epsilon=-0.1 is not allowed; give a finite number >= 0": lambda: aj.Ball("l2", -0.1),
    r"epsilon=nan is not allowed": lambda: aj.Ball("l2", jnp.nan),
    r"event_dims=0 is not allowed; give a whole": lambda: aj.Ball("l2", 0.1, event_dims=0),
    r"scale is a list; give a jax.Array": lambda: aj.Ball("l2", 0.1, scale=[1.0]),
    r"scale holds -1; give positive": lambda: aj.Ball("l2", 0.1, scale=jnp.array([1.0, -1.0])),
    r"mask has dtype int32; give a boolean": lambda: aj.Ball("l2", 0.1, mask=jnp.array([1])),
    r"low=1.0 exceeds high=0.0 somewhere; swap": lambda: aj.Ball("l2", 0.1, low=1.0, high=0.0),
    r"low or high holds NaN": lambda: aj.Ball("l2", 0.1, low=jnp.array([jnp.nan])),
    r"do not broadcast": lambda: aj.Ball("l2", 0.1, low=jnp.zeros(2), high=jnp.ones(3)),
    r"heads=\(\) is empty": lambda: aj.Categorical(heads=()),
    r"steps=0 is not allowed; give a whole": lambda: aj.ProjectedGradientAscent(BALL, steps=0),
    r"step_rule='big' is unknown": lambda: aj.ProjectedGradientAscent(BALL, step_rule="big"),
    r"restarts=2 must be compared": lambda: aj.ProjectedGradientAscent(BALL, restarts=2),
    r"restarts=2 would all give the same": lambda: aj.ProjectedGradientAscent(
        BALL, restarts=2, select="best", random_start=False
    ),
    r"estimator='exact' is unknown": lambda: aj.AAJR(estimator="exact"),
    r"points='origin' is not where estimator='secant' steps": lambda: aj.AAJR(
        points="origin", estimator="secant", direction="step"
    ),
    r"gamma=0.0 is not allowed; give a finite number > 0": lambda: aj.AAJR(gamma=0.0),
    r"direction='unit' does not; use direction='step'": lambda: aj.AAJR(estimator="secant"),
    r"metric='l2' is no Metric": lambda: aj.Frobenius(metric="l2"),
    r"fraction=0 is not allowed": lambda: aj.Frobenius(fraction=0),
    r"weight=2 is not allowed": lambda: aj.Mixture(aj.LeastValue(), aj.LeastValue(), 2),
    r"placement='both' is unknown": lambda: aj.Minimax(PGD, placement="both"),
    r"attack_fraction=0.5 leaves rows": lambda: aj.Minimax(PGD, attack_fraction=0.5),
    r"adversary is Ball; give an adversary": lambda: aj.Minimax(BALL),
    r"penalty is the class AAJR; give a penalty of aajr.jax, for": lambda: aj.Minimax(PGD, aj.AAJR),
    r"ball is float; give a Ball": lambda: aj.ProjectedGradientAscent(0.1),
    r"objective is a str; give a map": lambda: aj.ProjectedGradientAscent(BALL, "kl"),
    r"weight=-1.0 is not allowed": lambda: aj.Minimax(PGD, weight=-1.0),
}


@pytest.mark.parametrize("message", SETTINGS)
def test_settings(message):
    with pytest.raises(ValueError, match=message):
        SETTINGS[message]()


VALUES = {
    r"x holds 1 NaN or infinite values; clean it first": lambda: attack(X.at[0, 0].set(jnp.nan)),
    r"policy's output holds 12 NaN": lambda: attack(policy=lambda x: x / 0),
    r"the objective holds 12 NaN": lambda: attack(
        pgd=aj.ProjectedGradientAscent(BALL, lambda o, r: o.sum(1) * jnp.nan)
    ),
    r"the objective does not change in the ball": lambda: aj.objective_scale(
        aj.LeastValue(), lambda x: x * 0, X, BALL, KEY
    ),
    r"mask is False everywhere": lambda: aj.frobenius_squared(
        identity, X, KEY, mask=jnp.zeros(3, bool)
    ),
    r"leave no attackable feature": lambda: attack(
        pgd=aj.ProjectedGradientAscent(aj.Ball("l2", 0.1, mask=jnp.zeros(3, bool)))
    ),
}


@pytest.mark.parametrize("message", VALUES)
def test_values_outside_jit(message):
    with pytest.raises(ValueError, match=message):
        VALUES[message]()


SHAPES = {
    r"x has dtype int32; convert it": lambda: attack(X.astype(int)),
    r"x has shape \(3,\); give \[batch": lambda: attack(X[0]),
    r"x has shape \(0, 3\)": lambda: attack(X[:0]),
    r"x is a list; give a jax.Array": lambda: attack([[1.0]]),
    r"x is a dict with \['image'\]; give one array": lambda: attack({"image": X}),
    r"x is a dict with \['b', 'c'\]; give one array": lambda: minimax(jnp.sum, x={"b": X, "c": X}),
    r"the policy is a dict; give a function of x": lambda: attack(policy={"weight": X}),
    r"the policy returned int32; return what": lambda: attack(policy=lambda x: x.astype(int)),
    r"data is a list; give a dict": lambda: attack(data=[X]),
    r"task is a \w+; give a map": lambda: minimax(X),
    r"state is NoneType; give Minimax.init": lambda: aj.Minimax(PGD)(
        identity, X, jnp.sum, state=None
    ),
    r"trajectory is \w+; give what an adversary": lambda: aj.AAJR()(identity, X, KEY),
    r"x has shape \(4, 3, 2, 2\) but event_dims=None.*give event_dims=3": lambda: attack(
        jnp.ones((4, 3, 2, 2))
    ),
    r"key is int; give one random key": lambda: attack(key=0),
    r"key is key<fry>\[2\]": lambda: attack(key=jax.random.split(KEY)),
    r"the policy returned a tuple": lambda: attack(policy=lambda x: (x, x)),
    r"the policy maps x \(4, 3\) to \(\)": lambda: attack(policy=lambda x: x.sum()),
    r"data\['a'\] has shape \(3,\); its first": lambda: attack(data={"a": jnp.ones(3)}),
    r"data\['a'\] is a list": lambda: attack(data={"a": [1.0]}),
    r"needs data\['target'\] but data holds nothing": lambda: attack(
        pgd=aj.ProjectedGradientAscent(BALL, aj.Targeted())
    ),
    r"the objective returned \(\); it must return one loss": lambda: attack(
        pgd=aj.ProjectedGradientAscent(BALL, lambda o, r: o.sum())
    ),
    r"scale of shape \(2,\) does not fit x of shape \(4, 3\)": lambda: attack(
        pgd=aj.ProjectedGradientAscent(aj.Ball("l2", 0.1, scale=jnp.ones(2)))
    ),
    r"but event_dims=2; a sample has 1 dimensions, so give": lambda: attack(
        pgd=aj.ProjectedGradientAscent(aj.Ball("l2", 0.1, event_dims=2))
    ),
    r"v has shape \(4, 2\) but x has \(4, 3\)": lambda: aj.directional_derivative(
        identity, X, X[:, :2]
    ),
    r"v has dtype float16": lambda: aj.directional_derivative(identity, X, X.astype("float16")),
    r"mask of shape \(2,\) does not fit": lambda: aj.spectral_squared(
        identity, X, KEY, mask=jnp.ones(2, bool)
    ),
    r"mask is float32; give a boolean": lambda: aj.frobenius_squared(
        identity, X, KEY, mask=jnp.ones(3)
    ),
    r"heads=\(2, 2\) need 4 outputs, the policy gives 3": lambda: attack(
        pgd=aj.ProjectedGradientAscent(BALL, aj.Divergence(aj.Categorical(heads=(2, 2))))
    ),
    r"gives 3 outputs, an odd number": lambda: attack(
        pgd=aj.ProjectedGradientAscent(BALL, aj.Divergence(aj.DiagonalGaussian()))
    ),
    r"the task loss has shape \(4, 3\)": lambda: minimax(lambda out: out),
    r"the task loss is a float": lambda: minimax(lambda out: 1.0),
}


def minimax(task, x=X):
    robust = aj.Minimax(PGD)
    return robust(identity, x, task, state=robust.init(KEY))


@pytest.mark.parametrize("message", SHAPES)
@pytest.mark.parametrize("jitted", [False, True])
def test_shapes_and_dtypes_inside_and_outside_jit(message, jitted):
    with pytest.raises(ValueError, match=message):
        (jax.jit(SHAPES[message]) if jitted else SHAPES[message])()


def test_masked_gradients_warn():
    with pytest.warns(aj.MaskedGradientWarning, match="masked gradients"):
        attack(policy=jnp.sign)


def test_settings_survive_transformations_of_their_leaves():
    """Rebuilding a pytree from markers or shapes does not run the checks."""
    shapes = jax.eval_shape(lambda ball: ball, BALL)
    assert isinstance(shapes.epsilon, jax.ShapeDtypeStruct)
    assert jax.tree.map(lambda _: None, BALL).epsilon is None
    assert jax.tree.structure(BALL) == jax.tree.structure(BALL.with_epsilon(0.5))
