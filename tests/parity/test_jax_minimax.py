"""The whole robust loss over several updates: totals, parts and gradients are torch's."""

from __future__ import annotations

from functools import partial

import jax
import pytest
import torch

import aajr
import aajr.jax as aj
from aajr.testing import dense
from tests import jax_sides
from tests.jax_sides import close, to_jax

TIGHT = 1e-10
EXACT = {"fraction": 1.0, "estimator": "forward_mode", "interval": 1}
PENALTIES = {
    "none": (None, {}),
    "AAJR": ("AAJR", EXACT),
    "AAJR with a running scale": ("AAJR", {**EXACT, "direction": "gradient", "interval": 2}),
    "StateAdversarial": ("StateAdversarial", {}),
}


@pytest.fixture(autouse=True)
def double_precision():
    with jax_sides.float64():
        yield


def squares(output):
    return (output**2).mean()


@pytest.mark.parametrize(
    ("placement", "epsilon"),
    [("clean", None), ("adversarial", lambda update: 0.1 * update), ("mixed", 0.2)],
    ids=["clean", "adversarial, growing", "mixed, another"],
)
@pytest.mark.parametrize(("name", "settings"), PENALTIES.values(), ids=PENALTIES)
def test_three_updates(name, settings, placement, epsilon):
    """Steepest ascent from x itself, so that neither side draws anything."""
    net = dense.tanh_net()
    weight = lambda update: 0.5 + 0.25 * update  # noqa: E731
    common = {"weight": weight, "placement": placement, "epsilon": epsilon}
    sides = [
        side.Minimax(
            side.ProjectedGradientAscent(
                side.Ball("linf", 0.3),
                side.LeastValue(),
                steps=2,
                step_size=0.2,
                random_start=False,
            ),
            None if name is None else getattr(side, name)(**settings),
            **common,
        )
        for side in (aajr, aj)
    ]
    theirs, ours = sides
    state = ours.init(jax.random.key(0))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for update in range(3):
        x = dense.inputs(seed=update)

        def loss(params, x, state):
            result = ours(partial(jax_sides.apply, params), x, squares, state=state)
            return result.total, result

        given = jax_sides.parameters(net), to_jax(x), state
        (_, found), gradient = jax.value_and_grad(loss, has_aux=True)(*given)
        state = found.state
        expected = theirs(net, x, squares)
        for part in ("total", "task", "penalty"):
            close(getattr(found, part), getattr(expected, part), TIGHT)
        optimizer.zero_grad()
        expected.total.backward()
        theirs_gradient = torch.cat([p.grad.flatten() for p in net.parameters()])
        close(jax_sides.flat(gradient), theirs_gradient, TIGHT)
        optimizer.step()
