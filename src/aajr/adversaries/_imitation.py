"""A copy of the victim, learned from its answers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from aajr._checks import check_batch, check_count, check_generator, check_number
from aajr._modes import Policy, evaluating


class Imitation(nn.Module):
    """A network that learned a policy's outputs.

    Attributes:
        queries: evaluations of the victim, in rows, that its data took.
        error: mean squared error on held-out states, relative to the outputs' variance.
    """

    mean: Tensor
    spread: Tensor

    def __init__(
        self, network: nn.Module, shape: torch.Size, mean: Tensor, spread: Tensor, queries: int
    ) -> None:
        super().__init__()
        self.network = network
        self.shape = shape
        self.register_buffer("mean", mean)
        self.register_buffer("spread", spread)
        self.queries = queries
        self.error = float("nan")

    def forward(self, x: Tensor) -> Tensor:
        """Outputs in the victim's shape, ``[batch, *output]``."""
        output: Tensor = self.network(x.flatten(1)) * self.spread + self.mean
        return output.reshape(-1, *self.shape)


def imitate(
    policy: Policy,
    states: Tensor,
    generator: torch.Generator,
    *,
    hidden: Sequence[int] = (64, 64),
    epochs: int = 50,
    batch: int = 64,
    learning_rate: float = 3e-3,
) -> Imitation:
    """Fit a tanh network to the policy's outputs on given states, by queries alone.

    A tenth of the states is held out to measure the fit.

    Args:
        policy: the victim, ``[batch, *event]`` to ``[batch, *output]``; queried once per state.
        states: inputs like those it will be attacked at, ``[states, *event]``, at least 10.
        generator: source of weights and batches, on the states' device.
        hidden: sizes of the hidden layers.
        epochs: passes over the states.
        batch: rows per gradient step.
        learning_rate: of Adam at the start; it falls linearly to zero.

    Returns:
        The imitation, frozen, with its number of queries and its relative error.

    Raises:
        ValueError: fewer than 10 states, NaN in them or in the outputs, non-positive settings.

    Example:
        >>> import torch
        >>> g = torch.Generator().manual_seed(0)
        >>> states = torch.randn(1000, 3, generator=g)
        >>> imitate(torch.sin, states, g).error < 0.05
        True

    Source: Papernot et al., 2017, https://arxiv.org/abs/1602.02697.
    """
    check_batch("states", states)
    check_generator(generator, states)
    check_number("learning_rate", learning_rate, exclusive=True)
    for name, count in (("epochs", epochs), ("batch", batch)):
        check_count(name, count)
    for size in hidden:
        check_count("hidden", size)
    if len(states) < 10:
        raise ValueError(f"states has {len(states)} rows; give at least 10")
    with torch.no_grad(), evaluating(policy):
        outputs = policy(states)
    check_batch("the policy's output", outputs)
    wanted = outputs.flatten(1)
    mean, spread = wanted.mean(0), wanted.std(0).clamp_min(1e-6)
    sizes = (states[0].numel(), *hidden, wanted.shape[1])
    network = _network(sizes, states, generator)
    imitation = Imitation(network, outputs.shape[1:], mean, spread, len(states))
    order = torch.randperm(len(states), generator=generator, device=states.device)
    held_out, learned = order[: len(order) // 10], order[len(order) // 10 :]
    target = (wanted - mean) / spread
    with torch.enable_grad():
        rows = states.flatten(1)[learned], target[learned]
        _regress(network, rows, generator, epochs, batch, learning_rate)
    imitation.requires_grad_(False)
    gap = network(states[held_out].flatten(1)) - target[held_out]
    imitation.error = float(gap.square().mean())
    return imitation


def _network(sizes: Sequence[int], like: Tensor, generator: torch.Generator) -> nn.Sequential:
    layers: list[nn.Module] = []
    with torch.device("meta"):
        for before, after in itertools.pairwise(sizes):
            layers += [nn.Linear(before, after), nn.Tanh()]
    network = nn.Sequential(*layers[:-1]).to_empty(device=like.device).to(like.dtype)
    with torch.no_grad():
        for layer in network:
            if isinstance(layer, nn.Linear):
                nn.init.orthogonal_(layer.weight, 1.0, generator)
                nn.init.zeros_(layer.bias)
    return network


def _regress(
    network: nn.Module,
    rows: tuple[Tensor, Tensor],
    generator: torch.Generator,
    epochs: int,
    batch: int,
    learning_rate: float,
) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, total_iters=epochs)
    for _ in range(epochs):
        order = torch.randperm(len(rows[0]), generator=generator, device=rows[0].device)
        for index in torch.split(order, batch):
            inputs, wanted = (part[index] for part in rows)
            loss = (network(inputs) - wanted).square().mean()
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        schedule.step()
