"""What an adversary maximises: functions of the policy's output, one loss per sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from aajr._checks import check_count, check_number, check_same_shape
from aajr._modes import Policy, evaluating
from aajr.adversaries._evaluation import checked_loss, in_parts, loss_at, part_of
from aajr.geometry import Ball, Euclidean, Metric
from aajr.trajectory import Objective, Reference


@dataclass(frozen=True)
class Divergence:
    """ℓ(u) = D(π(x), u): KL for a stochastic policy, half the squared change for a plain one.

    It is the maximal action difference (MAD) attack. Its gradient is zero at δ = 0, so it needs
    a random start.

    Attributes:
        metric: geometry of the output; Euclidean by default.

    Example:
        >>> import torch
        >>> reference = Reference(torch.zeros(1, 2), outputs=torch.zeros(1, 2))
        >>> Divergence()(torch.tensor([[3.0, 4.0]]), reference)
        tensor([12.5000])

    Source: Zhang et al., Robust deep RL against adversarial perturbations on state observations,
    2020, https://arxiv.org/abs/2003.08938.
    """

    metric: Metric = field(default_factory=Euclidean)

    def __call__(self, output: Tensor, reference: Reference) -> Tensor:
        """Divergence from the clean output, ``[batch]``."""
        return self.metric.divergence(reference.outputs, output)


@dataclass(frozen=True, eq=False)
class Critic:
    """ℓ(u) = -Q(s, a(u)): push the action towards the least value; the state stays true.

    Attributes:
        value: map (state ``[batch, ...]``, action ``[batch, ...]``) to values ``[batch]``; a
            module is put in evaluation mode meanwhile.
        action: map from the policy's output to the action that ``value`` takes, for instance
            softmax probabilities; the output itself by default.
        state: name of the reference's data that holds the state; the clean input by default.

    Example:
        >>> import torch
        >>> critic = Critic(lambda state, action: (state * action).sum(1))
        >>> reference = Reference(torch.ones(1, 2), outputs=torch.zeros(1, 2))
        >>> critic(torch.tensor([[3.0, 4.0]]), reference)
        tensor([-7.])

    Source: Pattanaik et al., Robust deep RL with adversarial attacks, 2018,
    https://arxiv.org/abs/1712.03632.
    """

    value: Callable[[Tensor, Tensor], Tensor]
    action: Callable[[Tensor], Tensor] | None = None
    state: str | None = None

    def __call__(self, output: Tensor, reference: Reference) -> Tensor:
        """Negative value of the attacked action, ``[batch]``."""
        state = reference.inputs if self.state is None else _datum(reference, self.state)
        action = output if self.action is None else self.action(output)
        with evaluating(self.value):
            return -self.value(state, action)


@dataclass(frozen=True, eq=False)
class Surrogate:
    """ℓ(u) = -A log π_u(a): make actions of positive advantage unlikely, and the reverse.

    It reads ``action`` and ``advantage`` from the reference's data.

    Attributes:
        log_prob: map (output, action) to log-probabilities ``[batch]``.

    Example:
        >>> import torch
        >>> surrogate = Surrogate(lambda logits, action: logits.log_softmax(1)[:, action[0]])
        >>> data = {"action": torch.tensor([1]), "advantage": torch.tensor([2.0])}
        >>> reference = Reference(torch.ones(1, 2), torch.zeros(1, 2), data)
        >>> surrogate(torch.zeros(1, 2), reference)
        tensor([1.3863])

    Source: the policy-gradient surrogate of Williams, 1992, with the sign of the adversary.
    """

    log_prob: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, output: Tensor, reference: Reference) -> Tensor:
        """Negative advantage-weighted log-probability, ``[batch]``."""
        log_prob = self.log_prob(output, _datum(reference, "action"))
        return -_datum(reference, "advantage") * log_prob


@dataclass(frozen=True)
class Targeted:
    """ℓ(u) = -D(t, u): lead the policy to the output t, read from the data as ``target``.

    Attributes:
        metric: geometry of the output; Euclidean by default. For categorical heads t are logits.

    Example:
        >>> import torch
        >>> data = {"target": torch.tensor([[3.0, 4.0]])}
        >>> reference = Reference(torch.ones(1, 2), torch.zeros(1, 2), data)
        >>> Targeted()(torch.zeros(1, 2), reference)
        tensor([-12.5000])

    Source: Lin et al., Tactics of adversarial attack on deep RL agents, 2017,
    https://arxiv.org/abs/1703.06748.
    """

    metric: Metric = field(default_factory=Euclidean)

    def __call__(self, output: Tensor, reference: Reference) -> Tensor:
        """Negative divergence from the target, ``[batch]``."""
        target = _datum(reference, "target")
        check_same_shape("data['target']", target, "the policy's output", output)
        return -self.metric.divergence(target, output)


@dataclass(frozen=True)
class LeastValue:
    """ℓ(u) = -Σu: where the attacked map is a value, show what looks worst.

    Example:
        >>> import torch
        >>> LeastValue()(torch.tensor([[3.0]]), Reference(torch.ones(1, 2), torch.zeros(1, 1)))
        tensor([-3.])

    Source: the critic attack of Pattanaik et al., 2018, https://arxiv.org/abs/1712.03632, on V.
    """

    def __call__(self, output: Tensor, reference: Reference) -> Tensor:
        """Negative sum of the output, ``[batch]``."""
        return -output.flatten(1).sum(1)


@dataclass(frozen=True, eq=False)
class Mixture:
    """ℓ = (1 - w) a/s_a + w b/s_b of two objectives a and b, each in units of its own scale s.

    With a = :class:`Critic` on a Q of Robust Sarsa and b = :class:`Divergence` it is the attack
    RS + MAD; trying several w is the suite's task.

    Attributes:
        first: a.
        second: b.
        weight: w, from 0 (a alone) to 1 (b alone).
        first_scale: s_a, see :func:`aajr.objective_scale`.
        second_scale: s_b.

    Raises:
        ValueError: a weight outside [0, 1], non-positive scales.

    Example:
        >>> import torch
        >>> reference = Reference(torch.zeros(1, 2), outputs=torch.zeros(1, 2))
        >>> Mixture(LeastValue(), Divergence(), 0.5)(torch.tensor([[3.0, 4.0]]), reference)
        tensor([2.7500])

    Source: Zhang et al., Robust deep RL against adversarial perturbations on state observations,
    2020, https://arxiv.org/abs/2003.08938.
    """

    first: Objective
    second: Objective
    weight: float
    first_scale: float = 1.0
    second_scale: float = 1.0

    def __post_init__(self) -> None:
        check_number("weight", self.weight, maximum=1.0)
        check_number("first_scale", self.first_scale, exclusive=True)
        check_number("second_scale", self.second_scale, exclusive=True)

    def __call__(self, output: Tensor, reference: Reference) -> Tensor:
        """Weighted sum of both losses, ``[batch]``."""
        first = self.first(output, reference) / self.first_scale
        second = self.second(output, reference) / self.second_scale
        return (1 - self.weight) * first + self.weight * second


@torch.no_grad()
def objective_scale(
    objective: Objective,
    policy: Policy,
    x: Tensor,
    ball: Ball,
    generator: torch.Generator,
    draws: int = 8,
    data: Mapping[str, Tensor] | None = None,
) -> float:
    """Root mean square of ℓ(π(x + δ)) - ℓ(π(x)) over uniform δ: the unit of an objective.

    Args:
        objective: ℓ.
        policy: the victim.
        x: clean inputs, ``[batch, *event]``.
        ball: the threat set.
        generator: source of the draws.
        draws: per sample.
        data: what the objective reads.

    Returns:
        The scale, for :class:`Mixture`.

    Raises:
        ValueError: an objective that does not change in the ball; a count that is not positive.

    Example:
        >>> g, ball = torch.Generator().manual_seed(0), Ball("linf", 3.0)
        >>> x = torch.zeros(1000, 1)
        >>> round(objective_scale(LeastValue(), torch.clone, x, ball, g), 1)  # 3/√3
        1.7
    """
    check_count("draws", draws)
    ball.check(x)
    with evaluating(policy):
        outputs = in_parts(lambda rows: policy(x[rows]), len(x))
        reference = Reference(x, outputs, dict(data or {}))
        clean = in_parts(
            lambda rows: checked_loss(objective, outputs[rows], part_of(reference, rows)), len(x)
        )
        total = torch.zeros_like(clean)
        for _ in range(draws):
            attacked = loss_at(policy, objective, x + ball.sample(x, generator), reference)
            total = total + (attacked - clean).square()
    scale = float((total / draws).mean().sqrt())
    if scale == 0:
        raise ValueError(
            "the objective does not change in the ball, so it has no scale; use a larger epsilon "
            "or another objective"
        )
    return scale


def _datum(reference: Reference, name: str) -> Tensor:
    if name not in reference.data:
        known = ", ".join(sorted(reference.data)) or "nothing"
        raise ValueError(
            f"the objective needs data[{name!r}] but data holds {known}; "
            f"pass data={{{name!r}: tensor with one row per sample}}"
        )
    return reference.data[name]
