"""On a CUDA device everything stays there and gives what the CPU gives in float64."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import nn

from aajr import AAJR, Ball, Categorical, Divergence, Minimax, ProjectedGradientAscent
from aajr.testing import AdversaryContract, PenaltyContract, dense
from tests.contracts import test_adversaries, test_penalties

DEVICE = torch.device("cuda")
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
HEADS = Categorical((2, 4))
RANDOM = ("RandomDirection", "Spectral", "ERNIE", "Frobenius")
BALLS = {
    "l2": Ball("l2", 0.5, mask=torch.tensor([True, True, False, True, True])),
    "linf": Ball("linf", 0.3, low=-3.0, high=3.0, scale=torch.tensor([1.0, 2.0, 0.5, 1.0, 1.0])),
}


def contracts(module, base: type) -> list:
    """Every contract of a module that is about something of ours."""
    found = [
        member()
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, base) and member is not base
    ]
    assert found
    return [pytest.param(contract, id=type(contract).__name__) for contract in found]


def squared_output(output: torch.Tensor, reference: object) -> torch.Tensor:
    return output.square().sum(1)


def policy_and_x(device: torch.device | str) -> tuple[nn.Module, torch.Tensor]:
    return dense.tanh_net().to(device), dense.inputs(16, 5).to(device)


def ascend(device: torch.device | str, ball: Ball):
    """Three steps from the centre, with a row of data for penalties that weigh outputs."""
    policy, x = policy_and_x(device)
    attack = ProjectedGradientAscent(ball, squared_output, steps=3, random_start=False)
    data = {"weights": dense.inputs(16, 6, seed=8).to(device)}
    return policy, attack(policy, x, torch.Generator(device).manual_seed(0), data)


@pytest.mark.parametrize("ball", BALLS.values(), ids=BALLS)
def test_ascent_is_that_of_the_cpu(ball):
    (_, here), (_, there) = ascend(DEVICE, ball), ascend("cpu", ball)
    for name in ("points", "gradients", "losses", "worst"):
        found = getattr(here, name)
        assert found.device.type == DEVICE.type
        torch.testing.assert_close(found.cpu(), getattr(there, name), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("ball", BALLS.values(), ids=BALLS)
@pytest.mark.parametrize("contract", contracts(test_adversaries, AdversaryContract))
def test_every_adversary_stays_on_the_device_and_in_the_ball(contract, ball):
    policy, x = policy_and_x(DEVICE)
    worst = contract.make(ball)(policy, x, torch.Generator(DEVICE).manual_seed(0)).worst
    assert worst.device == x.device
    assert float((worst - x).abs().max()) > 1e-3
    torch.testing.assert_close(ball.around(x).project(worst - x), worst - x)


@pytest.mark.parametrize("contract", contracts(test_penalties, PenaltyContract))
def test_every_penalty_is_that_of_the_cpu(contract):
    values, gradients = [], []
    for device in (DEVICE, "cpu"):
        policy, trajectory = ascend(device, BALLS["l2"])
        penalty = contract.make(metric=HEADS, fraction=1.0)
        value = penalty(policy, trajectory, torch.Generator(device).manual_seed(0), 0)
        assert value.device.type == torch.device(device).type
        values.append(value.detach().cpu())
        gradients.append(dense.parameter_gradient(value, policy).cpu())
    assert bool(gradients[0].isfinite().all())
    if type(penalty).__name__ not in RANDOM:
        torch.testing.assert_close(*values, rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-8)


def test_a_run_resumes_exactly():
    def run(robust: Minimax, policy: nn.Module, updates: int) -> list[torch.Tensor]:
        _, x = policy_and_x(DEVICE)
        return [robust(policy, x, lambda out: out.square().mean()).total for _ in range(updates)]

    def minimax() -> Minimax:
        attack = ProjectedGradientAscent(BALLS["linf"], Divergence(HEADS))
        return Minimax(attack, AAJR(metric=HEADS, fraction=0.5), weight=0.1)

    policy, _ = policy_and_x(DEVICE)
    whole, first, second = minimax(), minimax(), minimax()
    expected = run(whole, policy, 4)
    run(first, policy, 2)
    second.load_state_dict(first.state_dict())
    torch.testing.assert_close(run(second, policy, 2), expected[2:], rtol=0, atol=0)


def test_an_agent_on_the_device_is_attacked_in_an_environment_of_the_cpu():
    PPO = pytest.importorskip("stable_baselines3").PPO
    from aajr.arena import Agent, examine

    model = PPO("MlpPolicy", "CartPole-v1", seed=0, device="cpu")
    agents = [Agent.from_sb3(model, device=device) for device in (DEVICE, "cpu")]
    ball = Ball("linf", 0.05)
    here, there = (examine(one, "CartPole-v1", ball, "quick", episodes=4) for one in agents)
    assert here.attacks == there.attacks
    assert here.worst.mean_return.estimate == pytest.approx(
        there.worst.mean_return.estimate, rel=0.2
    )


@pytest.mark.parametrize("estimator", ["double_backward", "forward_mode", "central_difference"])
def test_estimators_agree_under_bfloat16_autocast(estimator):
    policy, trajectory = ascend(DEVICE, BALLS["l2"])
    exact = AAJR(metric=HEADS, fraction=1.0, estimator=estimator)
    generator = torch.Generator(DEVICE).manual_seed(0)
    expected = exact(policy, trajectory, generator, 0).detach()
    with torch.autocast(DEVICE.type, torch.bfloat16):
        found = exact(policy, trajectory, generator, 0).detach()
    torch.testing.assert_close(found, expected, rtol=0.05, atol=1e-3)
