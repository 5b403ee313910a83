"""What an adversary maximises: functions of the policy's output, one loss per sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from aajr._checks import check_same_shape
from aajr._modes import evaluating
from aajr.geometry import Euclidean, Metric
from aajr.trajectory import Reference


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


def _datum(reference: Reference, name: str) -> Tensor:
    if name not in reference.data:
        known = ", ".join(sorted(reference.data)) or "nothing"
        raise ValueError(
            f"the objective needs data[{name!r}] but data holds {known}; "
            f"pass data={{{name!r}: tensor with one row per sample}}"
        )
    return reference.data[name]
