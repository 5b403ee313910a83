"""VMAS's own navigation task, planned through."""

from __future__ import annotations

import pytest
import torch
import vmas

from aajr import Ball, ProjectedGradientAscent
from aajr.adversaries import ThroughDynamics
from aajr.integrations.vmas import vmas_dynamics, vmas_state

ENVS, AGENTS, HORIZON = 6, 2, 10


def navigation(**settings):
    return vmas.make_env(
        "navigation",
        num_envs=ENVS,
        seed=0,
        n_agents=AGENTS,
        collisions=False,
        **{"grad_enabled": True, "continuous_actions": True, **settings},
    )


def distance(world):
    return sum((agent.state.pos - agent.goal.state.pos).square().sum(-1) for agent in world.agents)


def seek_goal(observation):
    """Towards the goal, braking: the observation is position, velocity, offset from the goal."""
    velocity, offset = observation[..., 2:4], observation[..., 4:6]
    return torch.tanh(-2 * offset - velocity)


def test_steps_are_those_of_the_environment():
    env, twin = navigation(), navigation()
    dynamics, state = vmas_dynamics(env, distance), vmas_state(env)
    for index in range(5):
        seen = dynamics.observe(state)
        action = seek_goal(seen)
        env.reset(seed=index + 1)
        state = dynamics.step(state, action)
        expected, *_ = twin.step(list(action.unbind(1)))
        torch.testing.assert_close(dynamics.observe(state), torch.stack(expected, 1))
    torch.testing.assert_close(dynamics.cost(state), distance(twin.world))


def test_the_gradient_passes_through_the_physics():
    env = navigation()
    dynamics, state = vmas_dynamics(env, distance), vmas_state(env)
    delta = torch.zeros(ENVS, HORIZON, AGENTS, 6, requires_grad=True)
    total = dynamics.total_cost(seek_goal, state, delta)
    (gradient,) = torch.autograd.grad(total.sum(), delta)
    direction = torch.randn(delta.shape, generator=torch.Generator().manual_seed(0))
    h = 1e-2
    with torch.no_grad():
        high = dynamics.total_cost(seek_goal, state, h * direction)
        low = dynamics.total_cost(seek_goal, state, -h * direction)
    expected = (gradient * direction).flatten(1).sum(1)
    torch.testing.assert_close((high - low) / (2 * h), expected, rtol=5e-2, atol=1e-2)
    assert float(gradient[:, 0].abs().max()) > 0.01


def test_a_plan_beats_the_attack_on_every_single_step():
    env = navigation()
    dynamics, state = vmas_dynamics(env, distance), vmas_state(env)
    ball = Ball("linf", 0.1, event_dims=1)
    clean = dynamics.observations(seek_goal, state, HORIZON)
    plan = ThroughDynamics(ball, dynamics, steps=15)
    found = plan(seek_goal, clean, torch.Generator().manual_seed(0), {"state": state})
    assert found.worst.shape == (ENVS, HORIZON, AGENTS, 6)
    planned = dynamics.total_cost(seek_goal, state, found.worst - clean).detach()

    mad = ProjectedGradientAscent(ball, steps=10, restarts=2, select="best")
    present, deltas, g = state, [], torch.Generator().manual_seed(0)
    for _ in range(HORIZON):
        seen = dynamics.observe(present)
        deltas.append(mad(seek_goal, seen, g).worst - seen)
        present = dynamics.step(present, seek_goal(seen + deltas[-1]))
    single = dynamics.total_cost(seek_goal, state, torch.stack(deltas, 1)).detach()
    unattacked = dynamics.total_cost(seek_goal, state, torch.zeros_like(clean)).detach()
    assert bool((planned > unattacked).all())
    assert bool((planned > single).all())
    assert float((planned - unattacked).mean()) > 2 * float((single - unattacked).mean())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"grad_enabled": False}, "env detaches actions; make it with grad_enabled=True"),
        ({"continuous_actions": False}, "env takes discrete actions; make it with"),
    ],
)
def test_unfit_environments_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        vmas_dynamics(navigation(**settings), distance)


def test_a_state_of_another_environment_is_refused():
    dynamics = vmas_dynamics(navigation(), distance)
    with pytest.raises(ValueError, match=r"state has shape \(3, 24\); this environment has"):
        dynamics.observe(torch.zeros(3, 24))
