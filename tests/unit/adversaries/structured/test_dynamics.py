"""Plans through linear systems, whose optima are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from aajr import Ball
from aajr.adversaries import Dynamics, ThroughDynamics
from aajr.testing import dense

HORIZON, SIZE = 5, 3


def system(cost):
    """s' = A s + B a, a = K (s + δ); returns dynamics, policy, A + B K and B K."""
    A = 0.5 * dense.inputs(SIZE, SIZE, seed=11)
    B, K = dense.inputs(SIZE, 2, seed=12), 0.5 * dense.inputs(2, SIZE, seed=13)
    dynamics = Dynamics(lambda s, a: s @ A.T + a @ B.T, lambda s: s, cost)
    return dynamics, lambda x: x @ K.T, A + B @ K, B @ K


def transfer(closed, entry):
    """Derivative of (s_1, ..., s_H) with respect to (δ_0, ..., δ_{H-1}), by matrix powers."""
    blocks = torch.zeros(HORIZON, SIZE, HORIZON, SIZE, dtype=torch.float64)
    for to in range(HORIZON):
        for at in range(to + 1):
            blocks[to, :, at] = torch.linalg.matrix_power(closed, to - at) @ entry
    return blocks.reshape(HORIZON * SIZE, HORIZON * SIZE)


def plan(ball, dynamics, policy, state, **settings):
    clean = dynamics.observations(policy, state, HORIZON)
    adversary = ThroughDynamics(ball, dynamics, **settings)
    found = adversary(policy, clean, torch.Generator().manual_seed(0), {"state": state})
    cost = dynamics.total_cost(policy, state, found.worst - clean)
    return found, cost, dynamics.total_cost(policy, state, torch.zeros_like(clean))


@pytest.mark.parametrize(("norm", "event_dims"), [("linf", 1), ("l2", 1), ("l2", 2)])
def test_a_linear_cost_has_its_dual_norm_as_optimum(norm, event_dims):
    weights = dense.inputs(SIZE, seed=3)
    dynamics, policy, closed, entry = system(lambda s: s @ weights)
    gradient = (transfer(closed, entry).T @ weights.repeat(HORIZON)).reshape(HORIZON, SIZE)
    dual = {
        ("linf", 1): gradient.abs().sum(),
        ("l2", 1): gradient.norm(dim=1).sum(),
        ("l2", 2): gradient.norm(),
    }[norm, event_dims]
    ball = Ball(norm, 0.2, event_dims=event_dims)
    _, cost, clean = plan(ball, dynamics, policy, dense.inputs(4, SIZE), steps=40)
    reached = (cost - clean) / (0.2 * dual)
    assert bool((reached >= 0.99).all())
    assert bool((reached <= 1 + 1e-9).all())


def test_a_quadratic_cost_reaches_the_trust_region_optimum():
    """max δᵀQδ + 2bᵀδ in ‖δ‖ ≤ ε: (λI - Q)δ = b with λ above Q's spectrum and ‖δ‖ = ε."""
    dynamics, policy, closed, entry = system(lambda s: s.square().sum(1))
    state = dense.inputs(4, SIZE)
    T = transfer(closed, entry)
    free = torch.stack([state @ torch.linalg.matrix_power(closed, t).T for t in range(1, 6)], 1)
    eigenvalues, basis = np.linalg.eigh((T.T @ T).numpy())
    ball = Ball("l2", 0.3, event_dims=2)
    _, cost, clean = plan(ball, dynamics, policy, state, steps=300, step_size=0.2, restarts=2)
    for row in range(4):
        b = basis.T @ (T.T @ free[row].flatten()).numpy()

        def excess(level, b=b):
            return np.sum((b / (level - eigenvalues)) ** 2) - 0.3**2

        top = eigenvalues[-1]
        level = brentq(excess, top + 1e-9, top + 1e4, xtol=1e-12)
        delta = b / (level - eigenvalues)
        best = float(eigenvalues @ delta**2 + 2 * b @ delta)
        reached = float(cost[row] - clean[row]) / best
        assert 0.99 <= reached <= 1 + 1e-6


def test_the_plan_is_recorded_and_its_passes_are_episodes():
    dynamics, policy, _, _ = system(lambda s: s.square().sum(1))
    found, cost, clean = plan(Ball("linf", 0.1), dynamics, policy, dense.inputs(4, SIZE), steps=6)
    assert found.points.shape == (7, 4, HORIZON, SIZE)
    assert found.reference.outputs.shape == (4, HORIZON, 2)
    torch.testing.assert_close(found.losses.amax(0), cost)
    assert found.backward_passes == 6
    assert found.forward_passes == 8
    assert bool((cost > clean).all())


def test_the_gradient_is_the_one_of_the_whole_episode():
    dynamics, policy, _, _ = system(lambda s: s.square().sum(1).sin())
    state = dense.inputs(4, SIZE)
    found, _, _ = plan(Ball("linf", 0.1), dynamics, policy, state, steps=1)
    delta = (found.points[0] - found.origin).requires_grad_()
    step, expected = 1e-6, torch.zeros_like(delta)
    for at in range(HORIZON):
        for feature in range(SIZE):
            shift = torch.zeros_like(delta)
            shift[:, at, feature] = step
            high = dynamics.total_cost(policy, state, delta + shift)
            low = dynamics.total_cost(policy, state, delta - shift)
            expected[:, at, feature] = (high - low).detach() / (2 * step)
    torch.testing.assert_close(found.gradients[0], expected, rtol=1e-6, atol=1e-8)


def test_a_row_alone_equals_that_row_in_a_batch():
    dynamics, policy, _, _ = system(lambda s: s.square().sum(1))
    state = dense.inputs(4, SIZE)
    adversary = ThroughDynamics(Ball("linf", 0.1), dynamics, steps=40)
    clean = dynamics.observations(policy, state, HORIZON)
    whole = adversary(policy, clean, torch.Generator(), {"state": state})
    others = torch.cat([state[:1], dense.inputs(3, SIZE, seed=8)])
    clean = dynamics.observations(policy, others, HORIZON)
    part = adversary(policy, clean, torch.Generator(), {"state": others})
    torch.testing.assert_close(part.worst[0], whole.worst[0])


def test_looking_ahead_beats_one_step_at_a_time():
    """The cost of the next step ignores the second state, which is what counts later."""
    A = torch.tensor([[0.0, 1.0], [0.0, 1.0]]).double()
    dynamics = Dynamics(
        lambda s, a: s @ A.T + torch.stack([-0.5 * a[:, 0], a[:, 0]], 1),
        lambda s: s,
        lambda s: s[:, 0],
    )

    def policy(x):
        return 0.3 * x.sum(1, keepdim=True).tanh()

    state = torch.zeros(1, 2).double()
    _, planned, clean = plan(Ball("linf", 0.5), dynamics, policy, state)
    greedy = torch.zeros(1, HORIZON, 2).double()
    present = state
    for at in range(HORIZON):
        one = ThroughDynamics(Ball("linf", 0.5), dynamics)
        x = dynamics.observations(policy, present, 1)
        greedy[:, at] = (one(policy, x, torch.Generator(), {"state": present}).worst - x)[:, 0]
        present = dynamics.step(present, policy(dynamics.observe(present) + greedy[:, at]))
    myopic = dynamics.total_cost(policy, state, greedy)
    assert float(myopic) < float(clean) < float(planned)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps=0 is not allowed"),
        ({"restarts": 0}, "restarts=0 is not allowed"),
        ({"step_size": 0.0}, "step_size=0.0 is not allowed"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    dynamics, *_ = system(lambda s: s.sum(1))
    with pytest.raises(ValueError, match=message):
        ThroughDynamics(Ball("linf", 0.1), dynamics, **settings)


def test_a_missing_state_is_refused(generator):
    dynamics, policy, *_ = system(lambda s: s.sum(1))
    with pytest.raises(ValueError, match=r"the adversary needs data\['state'\]"):
        ThroughDynamics(Ball("linf", 0.1), dynamics)(policy, dense.inputs(2, 4, 3), generator)
    with pytest.raises(ValueError, match="horizon=0 is not allowed"):
        dynamics.observations(policy, dense.inputs(2, 3), 0)
