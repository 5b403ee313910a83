"""Objectives against torch's own distributions and by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from aajr import Ball, Critic, Divergence, ProjectedGradientAscent, Reference, Surrogate, Targeted
from aajr.testing import dense


def reference(**data: torch.Tensor) -> Reference:
    return Reference(dense.inputs(), dense.inputs(4, 6, seed=2), data)


@pytest.mark.parametrize("metric", dense.METRICS.values(), ids=dense.METRICS)
def test_divergence_is_from_the_clean_to_the_attacked_output(metric):
    ref, output = reference(), dense.inputs(4, 6, seed=3)
    torch.testing.assert_close(
        Divergence(metric)(output, ref), dense.divergence(metric, ref.outputs, output)
    )


@pytest.mark.parametrize("metric", dense.METRICS.values(), ids=dense.METRICS)
def test_targeted_leads_to_its_target(metric, generator):
    target, output = dense.inputs(4, 6, seed=4), dense.inputs(4, 6, seed=3)
    expected = -dense.divergence(metric, target, output)
    torch.testing.assert_close(Targeted(metric)(output, reference(target=target)), expected)
    policy, x = dense.tanh_net(), dense.inputs()
    attack = ProjectedGradientAscent(Ball("l2", 0.1), Targeted(metric), random_start=False)
    worst = attack(policy, x, generator, {"target": target}).worst
    before = dense.divergence(metric, target, policy(x))
    after = dense.divergence(metric, target, policy(worst))
    assert bool((after < before).all())


def test_critic_reads_the_true_state_and_the_attacked_action():
    state, output = dense.inputs(4, 6, seed=5), dense.inputs(4, 6, seed=3)
    ref = reference(state=state)

    def value(state: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        return (state * action).sum(1)

    expected = -(state * output.softmax(1)).sum(1)
    critic = Critic(value, action=lambda u: u.softmax(-1), state="state")
    torch.testing.assert_close(critic(output, ref), expected)
    by_input = Critic(lambda state, action: state.sum(1) + action.sum(1))
    expected = -(ref.inputs.sum(1) + output.sum(1))
    torch.testing.assert_close(by_input(output, ref), expected)


class NoisyValue(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.noise = nn.Dropout(0.5)
        self.head = nn.Linear(11, 1).double()

    def forward(self, state: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        return self.head(self.noise(torch.cat([state, action], -1))).squeeze(-1)


def test_a_critic_with_dropout_is_evaluated_and_left_as_it_was(generator):
    value, policy = NoisyValue().train(), dense.tanh_net()
    attack = ProjectedGradientAscent(Ball("l2", 0.5), Critic(value))
    worst = [
        attack(policy, dense.inputs(), torch.Generator().manual_seed(0)).worst for _ in range(2)
    ]
    assert torch.equal(*worst)
    assert value.noise.training
    assert value.head.weight.grad is None


def test_surrogate_makes_good_actions_unlikely(generator):
    action = torch.tensor([0, 1, 2, 3])
    advantage = torch.tensor([1.0, -1.0, 2.0, 0.5], dtype=torch.float64)
    data = {"action": action, "advantage": advantage}

    def log_prob(logits: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        return torch.distributions.Categorical(logits=logits).log_prob(action)

    output = dense.inputs(4, 6, seed=3)
    expected = -advantage * output.log_softmax(1)[torch.arange(4), action]
    torch.testing.assert_close(Surrogate(log_prob)(output, reference(**data)), expected)
    policy, x = dense.tanh_net(), dense.inputs()
    attack = ProjectedGradientAscent(Ball("l2", 0.3), Surrogate(log_prob), random_start=False)
    worst = attack(policy, x, generator, data).worst
    change = log_prob(policy(worst), action) - log_prob(policy(x), action)
    assert bool((change * advantage < 0).all())


@pytest.mark.parametrize(
    ("objective", "name"),
    [
        (Surrogate(lambda output, action: output[:, 0]), "action"),
        (Targeted(), "target"),
        (Critic(lambda state, action: state[:, 0], state="state"), "state"),
    ],
)
def test_missing_data_are_named(objective, name):
    message = rf"needs data\['{name}'\] but data holds reward; pass data="
    with pytest.raises(ValueError, match=message):
        objective(dense.inputs(4, 6), reference(reward=torch.zeros(4)))


def test_a_target_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"data\['target'\] has shape \(4, 1\) but the policy's"):
        Targeted()(dense.inputs(4, 6), reference(target=torch.zeros(4, 1)))
