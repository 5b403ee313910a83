"""A random coalition of sources, and its probability."""

from __future__ import annotations

import torch
from torch import Tensor
from torchrl.modules import IndependentNormal

from aajr.arena.spaces.distributions import CategoricalHeads
from aajr.geometry.groups import largest

MOST_LIARS = 12
"""Greatest size of a coalition whose probability is computed; the cost doubles with each liar."""


def draw_coalition(scores: Tensor, liars: int, generator: torch.Generator) -> Tensor:
    """Draw k sources without replacement, each with weight exp(score) among those left.

    The k greatest of score + Gumbel noise are such a draw.

    Args:
        scores: ``[..., sources]``.
        liars: k; all sources are taken if they are fewer.
        generator: source of the noise.

    Returns:
        True for the sources taken, ``[..., sources]``.

    Source: Kool et al., Stochastic beams and where to find them, 2019,
    https://arxiv.org/abs/1903.06059.
    """
    exponential = torch.empty_like(scores).exponential_(generator=generator)
    return largest(scores - exponential.log(), liars)


def coalition_log_prob(scores: Tensor, chosen: Tensor) -> Tensor:
    r"""Log-probability that :func:`draw_coalition` takes the chosen sources, in whatever order.

    With weights w = exp(score), the probability of a set A follows from those of its subsets,
    P(A) = Σ_{a∈A} P(A∖a) w_a / Σ_{b∉A∖a} w_b with P(∅) = 1, where P(A) sums over all orders.

    Args:
        scores: ``[..., sources]``.
        chosen: True for the sources taken, ``[..., sources]``; the same number in all rows, except
            that a row without any has log-probability 0.

    Returns:
        Log-probabilities ``[...]``.

    Raises:
        ValueError: more than 12 sources are taken.

    Example:
        >>> chosen = torch.tensor([[True, True, False]])
        >>> coalition_log_prob(torch.zeros(1, 3), chosen).exp()
        tensor([0.3333])

    Source: Plackett, The analysis of permutations, 1975, https://doi.org/10.2307/2346567.
    """
    liars = int(chosen.sum(-1).max())
    if liars > MOST_LIARS:
        raise ValueError(f"liars={liars} have too many orders; at most {MOST_LIARS} may lie")
    order = chosen.to(scores).argsort(dim=-1, descending=True, stable=True)[..., :liars]
    own = scores.gather(-1, order)
    found = [torch.zeros_like(scores[..., 0])]
    left: list[Tensor] = []
    for taken in range(1, 2**liars):
        left.append(_weight_left(scores, order, taken - 1))
        last = [index for index in range(liars) if taken >> index & 1]
        before = [taken ^ 1 << index for index in last]
        ways = [found[b] + own[..., a] - left[b] for a, b in zip(last, before, strict=True)]
        found.append(torch.stack(ways).logsumexp(0))
    return torch.where(chosen.any(-1), found[-1], 0)


class Commands(torch.distributions.Distribution):
    """Gaussian commands and an independent coalition of sources.

    A value is a command ``[..., commands]`` followed by 1 for every source that lies and 0 for the
    others, ``[..., sources]``.

    Args:
        loc: mean of the commands.
        scale: their standard deviation.
        scores: of the sources, see :func:`draw_coalition`; none for an attacker without sources.

    Example:
        >>> attack = Commands(torch.zeros(1, 2), torch.ones(1, 2), torch.zeros(1, 2))
        >>> one = attack.log_prob(torch.tensor([[0.0, 0.0, 0.0, 1.0]]))
        >>> (one.exp() * 2 * torch.pi).round(decimals=4)  # the coalition has probability 1/2
        tensor([0.5000])
    """

    arg_constraints = {}  # noqa: RUF012 - the base class declares it so

    def __init__(self, loc: Tensor, scale: Tensor, scores: Tensor) -> None:
        self.normal = IndependentNormal(loc, scale)
        self.scores = scores
        size = loc.shape[-1] + scores.shape[-1]
        super().__init__(loc.shape[:-1], torch.Size([size]), validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of values ``[..., commands + sources]``: ``[...]``."""
        sources = self.scores.shape[-1]
        if not sources:
            return self._of_command(value)
        chosen = value[..., -sources:] > 0
        return self._of_command(value[..., :-sources]) + coalition_log_prob(self.scores, chosen)

    def entropy(self) -> Tensor:
        """Entropy of the command and of the source that is drawn first, ``[...]``."""
        entropy: Tensor = self.normal.entropy()
        if not self.scores.shape[-1]:
            return entropy
        return entropy + CategoricalHeads(self.scores, self.scores.shape[-1:]).entropy()

    def _of_command(self, command: Tensor) -> Tensor:
        found: Tensor = self.normal.log_prob(command)
        return found


def _weight_left(scores: Tensor, order: Tensor, taken: int) -> Tensor:
    """Log of the total weight of the sources except those that the bits of ``taken`` name."""
    gone = torch.zeros_like(scores, dtype=torch.bool)
    bits = [index for index in range(order.shape[-1]) if taken >> index & 1]
    gone.scatter_(-1, order[..., bits], True)
    return scores.masked_fill(gone, -torch.inf).logsumexp(-1)
