"""Several sources report the same quantity, and any k of them may lie."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, final

import torch
from torch import Tensor

from aajr._checks import check_choice
from aajr._modes import Policy
from aajr.adversaries._base import Adversary
from aajr.adversaries._objectives import Divergence
from aajr.adversaries._radius import with_ball
from aajr.adversaries._restarts import higher_loss
from aajr.adversaries._structured_sparse import groups_by_gradient
from aajr.adversaries._temporal import TemporalAdversary, ball_of
from aajr.geometry import Sparse, check_event
from aajr.geometry.groups import keep_best, on_features, touched
from aajr.trajectory import Reference, Trajectory

Who = Literal["random", "gradient", "all", "given"]
"""How the liars are chosen."""

WHO: tuple[Who, ...] = ("random", "gradient", "all", "given")


@final
@dataclass(frozen=True, eq=False)
class LyingSources(Adversary):
    """Any k of n sources lie by up to ε; which ones may differ from sample to sample.

    It chooses the liars and runs another adversary on their reports only. For lies without a
    limit, give a large ε and a ball whose ``low`` and ``high`` bound the possible reports.

    The trajectory is that of the inner search, so it works with every penalty.

    Attributes:
        adversary: a search in an L∞ :class:`aajr.Ball`, whose ε is the greatest lie;
            :class:`aajr.TemporallyCoupled` around one for lies that drift.
        sources: number of the source that reports each feature, in the shape of one event, -1 for
            features that no source can change.
        liars: k, for every event; on ``[batch, agents, features]`` for every agent.
        who: ``random`` draws k sources. ``gradient`` takes the k with the greatest gain by the
            gradient. ``all`` runs the search for every k of the n sources and keeps the worst for
            every sample; a sample must be one event. ``given`` reads ``data["liars"]``, True for
            the sources that lie, ``[batch, ..., sources]``, for liars that stay for an episode.

    Raises:
        ValueError: an adversary without an L∞ ball of its own, no liars, sources that are not whole
            numbers, an unknown ``who``; ``all`` with a search that does not keep its best point.

    Example:
        >>> import torch
        >>> from aajr import Ball, ProjectedGradientAscent
        >>> search = ProjectedGradientAscent(
        ...     Ball("linf", 0.5), lambda output, reference: output.sum(1), select="best"
        ... )
        >>> lies = LyingSources(search, torch.tensor([0, 1, 2]), liars=2, who="all")
        >>> policy = lambda x: x * torch.tensor([1.0, -3.0, 2.0])
        >>> lies(policy, torch.zeros(1, 3), torch.Generator().manual_seed(0)).worst
        tensor([[ 0.0000, -0.5000,  0.5000]])

    Source: the adversary of Byzantine-robust aggregation, Blanchard et al., Machine learning with
    adversaries: Byzantine tolerant gradient descent, 2017, https://arxiv.org/abs/1703.02757.
    """

    adversary: Adversary
    sources: Tensor
    liars: int
    who: Who = "random"
    ball: Sparse = field(init=False)

    def __post_init__(self) -> None:
        check_choice("who", self.who, WHO)
        search = self.adversary
        ball = search.ball if isinstance(search, TemporalAdversary) else ball_of(search)
        if self.who == "all" and getattr(self.adversary, "select", "best") == "last":
            raise ValueError("who='all' compares coalitions; give a search with select='best'")
        needs = (*self.adversary.needs, *(("liars",) if self.who == "given" else ()))
        object.__setattr__(self, "ball", Sparse(ball, self.liars, self.sources))
        object.__setattr__(self, "objective", self.adversary.objective)
        object.__setattr__(self, "needs", needs)

    def run(self, policy: Policy, reference: Reference, generator: torch.Generator) -> Trajectory:
        """Choose the liars and search; for ``all``, keep the worst coalition of every sample."""
        supports = self._supports(policy, reference, generator)
        found = self._search(next(supports), policy, reference, generator)
        for support in supports:
            found = higher_loss(found, self._search(support, policy, reference, generator))
        if self.who == "gradient":
            rounds = min(self.liars, len(self.ball.members(reference.inputs)))
            return replace(
                found,
                forward_passes=found.forward_passes + rounds,
                backward_passes=found.backward_passes + rounds,
            )
        return found

    def drawn(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Uniformly random liars among the sources, as ``data["liars"]`` holds them.

        Args:
            x: clean inputs, ``[batch, *event]``.
            generator: source of the draw.

        Returns:
            True for k sources of every event, ``[batch, ..., sources]``.
        """
        open_ = touched(self.ball.attackable(x), self.ball.members(x))
        draw = torch.rand(open_.shape, generator=generator, device=x.device, dtype=torch.float32)
        return keep_best((1 + draw) * open_, self.liars)

    def _search(
        self, support: Tensor, policy: Policy, reference: Reference, generator: torch.Generator
    ) -> Trajectory:
        """The inner adversary's search among the features of the liars."""
        open_ = support & self.ball.attackable(reference.inputs).bool()
        inner = with_ball(self.adversary, lambda ball: replace(ball, mask=open_, coalition=None))
        return inner.run(policy, reference, generator)

    def _supports(
        self, policy: Policy, reference: Reference, generator: torch.Generator
    ) -> Iterator[Tensor]:
        """The features of the liars, ``[batch, *event]``, for every coalition to be tried."""
        x = reference.inputs
        members = self.ball.members(x)
        if self.who == "gradient":
            objective = self.adversary.objective or Divergence()
            yield groups_by_gradient(self.ball, policy, objective, reference, generator)[1]
        elif self.who == "given":
            yield on_features(self._given(reference.data["liars"], x, len(members)), members)
        elif self.who == "random":
            yield on_features(self.drawn(x, generator), members)
        else:
            check_event(self.ball.budget_dims, x)
            every = range(len(members))
            for chosen in itertools.combinations(every, min(self.liars, len(members))):
                yield members[list(chosen)].any(0).expand_as(x)

    def _given(self, liars: Tensor, x: Tensor, sources: int) -> Tensor:
        shape = (*x.shape[: x.ndim - self.ball.budget_dims], sources)
        if liars.dtype != torch.bool or liars.shape != shape:
            raise ValueError(
                f"data['liars'] is {liars.dtype} of shape {tuple(liars.shape)}; give booleans of "
                f"shape {shape}, True for the sources that lie"
            )
        most = int(liars.sum(-1).max())
        if most > self.liars:
            raise ValueError(
                f"data['liars'] names {most} liars but liars={self.liars}; name at most as many"
            )
        return liars
