"""What an adversary maximises: functions of the policy's output, one loss per sample.

``output`` is ``[batch, *output]``, a tensor or an array; ``reference`` holds the clean ``inputs``
and ``outputs`` and the batch's ``data``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aajr._settings import check_number, check_same_shape


@dataclass(frozen=True)
class Divergence:
    """ℓ(u) = D(π(x), u): KL for a stochastic policy, half the squared change for a plain one.

    It is the maximal action difference (MAD) attack. Its gradient is zero at δ = 0, so it needs
    a random start.

    Attributes:
        metric: geometry of the output; Euclidean by default.

    Source: Zhang et al., Robust deep RL against adversarial perturbations on state observations,
    2020, https://arxiv.org/abs/2003.08938.
    """

    metric: Any

    def __call__(self, output: Any, reference: Any) -> Any:
        """Divergence from the clean output, ``[batch]``."""
        return self.metric.divergence(reference.outputs, output)


@dataclass(frozen=True, eq=False)
class Critic:
    """ℓ(u) = -Q(s, a(u)): push the action towards the least value at the true state.

    Attributes:
        value: map (state ``[batch, ...]``, action ``[batch, ...]``) to values ``[batch]``.
        action: map from the policy's output to the action that ``value`` takes, for instance
            softmax probabilities; the output itself by default.
        state: name of the reference's data that holds the state; the clean input by default.

    Example:
        >>> import torch
        >>> from aajr import Reference
        >>> critic = Critic(lambda state, action: (state * action).sum(1))
        >>> reference = Reference(torch.ones(1, 2), outputs=torch.zeros(1, 2))
        >>> critic(torch.tensor([[3.0, 4.0]]), reference)  # in JAX alike
        tensor([-7.])

    Source: Pattanaik et al., Robust deep RL with adversarial attacks, 2018,
    https://arxiv.org/abs/1712.03632.
    """

    value: Callable[[Any, Any], Any]
    action: Callable[[Any], Any] | None = None
    state: str | None = None

    def __call__(self, output: Any, reference: Any) -> Any:
        """Negative value of the attacked action, ``[batch]``."""
        state = reference.inputs if self.state is None else _datum(reference, self.state)
        return -self.value(state, output if self.action is None else self.action(output))


@dataclass(frozen=True, eq=False)
class Surrogate:
    """ℓ(u) = -A log π_u(a): make actions of positive advantage unlikely, of negative one likely.

    It reads ``action`` and ``advantage`` from the reference's data.

    Attributes:
        log_prob: map (output, action) to log-probabilities ``[batch]``.

    Example:
        >>> import torch
        >>> from aajr import Reference
        >>> surrogate = Surrogate(lambda logits, action: logits.log_softmax(1)[:, action[0]])
        >>> data = {"action": torch.tensor([1]), "advantage": torch.tensor([2.0])}
        >>> reference = Reference(torch.ones(1, 2), torch.zeros(1, 2), data)
        >>> surrogate(torch.zeros(1, 2), reference)  # in JAX alike
        tensor([1.3863])

    Source: the policy-gradient surrogate of Williams, 1992, with the sign of the adversary.
    """

    log_prob: Callable[[Any, Any], Any]

    def __call__(self, output: Any, reference: Any) -> Any:
        """Negative advantage-weighted log-probability, ``[batch]``."""
        log_prob = self.log_prob(output, _datum(reference, "action"))
        return -_datum(reference, "advantage") * log_prob


@dataclass(frozen=True)
class Targeted:
    """ℓ(u) = -D(t, u): move the output towards t, which is ``data["target"]``.

    Attributes:
        metric: geometry of the output; Euclidean by default. For categorical heads t are logits.

    Source: Lin et al., Tactics of adversarial attack on deep RL agents, 2017,
    https://arxiv.org/abs/1703.06748.
    """

    metric: Any

    def __call__(self, output: Any, reference: Any) -> Any:
        """Negative divergence from the target, ``[batch]``."""
        target = _datum(reference, "target")
        check_same_shape("data['target']", target, "the policy's output", output)
        return -self.metric.divergence(target, output)


@dataclass(frozen=True)
class LeastValue:
    """ℓ(u) = -Σu: for attacks on a value function, the input with the least value is the worst.

    Example:
        >>> import torch
        >>> from aajr import Reference
        >>> LeastValue()(torch.tensor([[3.0]]), Reference(torch.ones(1, 2), torch.zeros(1, 1)))
        tensor([-3.])

    Source: the critic attack of Pattanaik et al., 2018, https://arxiv.org/abs/1712.03632, on V.
    """

    def __call__(self, output: Any, reference: Any) -> Any:
        """Negative sum of the output, ``[batch]``."""
        return -output.reshape(len(output), -1).sum(1)


@dataclass(frozen=True, eq=False)
class Mixture:
    """ℓ = (1 - w) a/s_a + w b/s_b of two objectives a and b, each in units of its own scale s.

    With a = ``Critic`` on a Q of Robust Sarsa and b = ``Divergence`` it is the attack RS + MAD;
    a suite tries several w.

    Attributes:
        first: a.
        second: b.
        weight: w, from 0 (a alone) to 1 (b alone).
        first_scale: s_a, see :func:`aajr.objective_scale` and :func:`aajr.jax.objective_scale`.
        second_scale: s_b.

    Raises:
        ValueError: a weight outside [0, 1], non-positive scales.

    Example:
        >>> import torch
        >>> from aajr import Divergence, Reference
        >>> reference = Reference(torch.zeros(1, 2), outputs=torch.zeros(1, 2))
        >>> Mixture(LeastValue(), Divergence(), 0.5)(torch.tensor([[3.0, 4.0]]), reference)
        tensor([2.7500])

    Source: Zhang et al., Robust deep RL against adversarial perturbations on state observations,
    2020, https://arxiv.org/abs/2003.08938.
    """

    first: Callable[[Any, Any], Any]
    second: Callable[[Any, Any], Any]
    weight: float
    first_scale: Any = 1.0
    second_scale: Any = 1.0

    def __post_init__(self) -> None:
        check_number("weight", self.weight, maximum=1.0)
        check_number("first_scale", self.first_scale, exclusive=True)
        check_number("second_scale", self.second_scale, exclusive=True)

    def __call__(self, output: Any, reference: Any) -> Any:
        """Weighted sum of both losses, ``[batch]``."""
        first = self.first(output, reference) / self.first_scale
        second = self.second(output, reference) / self.second_scale
        return (1 - self.weight) * first + self.weight * second


def _datum(reference: Any, name: str) -> Any:
    if name not in reference.data:
        known = ", ".join(sorted(reference.data)) or "nothing"
        raise ValueError(
            f"the objective needs data[{name!r}] but data holds {known}; "
            f"pass data={{{name!r}: a tensor or array with one row per sample}}"
        )
    return reference.data[name]
