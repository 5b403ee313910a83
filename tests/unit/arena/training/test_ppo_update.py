"""PPO's loss against TorchRL's."""

import pytest
import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModule
from torch import nn
from torchrl.modules import ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss

from aajr.arena.spaces.distributions import CategoricalHeads
from aajr.arena.training.ppo import PPOConfig
from aajr.arena.training.ppo_update import clipped_loss

HEADS = (3, 2)


def theirs(network: nn.Module, critic: nn.Module, batch: TensorDict, ppo: PPOConfig):
    actor = ProbabilisticActor(
        TensorDictModule(network, ["observation"], ["logits"]),
        in_keys=["logits"],
        out_keys=["action"],
        distribution_class=CategoricalHeads,
        distribution_kwargs={"heads": HEADS},
        return_log_prob=True,
    )
    loss = ClipPPOLoss(
        actor,
        ValueOperator(critic, in_keys=["state"]),
        clip_epsilon=ppo.clip,
        entropy_coeff=ppo.entropy,
        critic_coeff=0.5,
        normalize_advantage=True,
        functional=False,
    )
    found = loss(batch)
    return found["loss_objective"] + found["loss_critic"] + found["loss_entropy"]


@pytest.mark.parametrize("rows", [1, 2, 257])
def test_the_loss_and_its_gradient_are_those_of_torchrl(rows):
    g = torch.Generator().manual_seed(rows)
    network, critic = nn.Linear(4, sum(HEADS)), nn.Linear(4, 1)
    for parameter in (*network.parameters(), *critic.parameters()):
        parameter.data = torch.randn(parameter.shape, generator=g)
    x = torch.randn(rows, 4, generator=g)
    facts = {
        "observation": x,
        "state": x,
        "action": (torch.rand(rows, 2, generator=g) * torch.tensor(HEADS)).long(),
        # many ratios lie outside the clip, on both sides
        "action_log_prob": -1.5 + 0.5 * torch.randn(rows, generator=g),
        "advantage": torch.randn(rows, 1, generator=g),
        "value_target": 2 * torch.randn(rows, 1, generator=g),
    }
    ppo, weights = PPOConfig(entropy=0.03), [*network.parameters(), *critic.parameters()]
    batch = TensorDict(facts, [rows])
    ours = clipped_loss(CategoricalHeads(network(x), HEADS), critic, batch, ppo)
    expected = theirs(network, critic, batch, ppo)
    assert torch.equal(ours, expected)
    pairs = zip(
        torch.autograd.grad(ours, weights), torch.autograd.grad(expected, weights), strict=True
    )
    assert all(torch.equal(own, other) for own, other in pairs)
