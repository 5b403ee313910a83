"""Worst accuracy over all coalitions of liars, and the response of a policy to a lie."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from aajr.adversaries import (
    Adversary,
    CrossEntropy,
    LyingSources,
    Margin,
    MaskedGradientWarning,
    ProjectedGradientAscent,
    VertexSearch,
    rows_at_once,
)
from aajr.geometry import Ball
from aajr.jacobian import directional_derivative, frobenius_squared
from aajr.studies.consensus._case import Case, draw, reports_of, with_reports
from aajr.studies.consensus._methods import FISHER
from aajr.studies.consensus._policies import Members
from aajr.studies.responses import belief_and_angle, directions, lying, shifts_of_estimates

_ROWS = 60_000
_TEST_SEED = 987_654_321


@dataclass(frozen=True)
class Examination:
    """How policies are attacked, all on the same fresh test samples.

    Each coalition of k sources is attacked in three ways: all corners of the cube of lies, and
    projected gradient ascent with restarts on the margin and on the cross-entropy. A sample counts
    as right if no attack by any coalition misleads the policy.

    Attributes:
        samples: number of test samples.
        epsilons: bounds of the lies. The unbounded lie, any report in the box, is always added.
        box: half width of the box that contains all reports of the unbounded lie.
        steps: number of steps of each ascent.
        restarts: number of restarts of each ascent.
        checked: number of samples that are also attacked with four times the steps and eight times
            the restarts, to check convergence of the attacks; 0 for none.
        lies: sizes of the lie in the response curve.
        responses: number of samples of the response curve.
    """

    samples: int = 300
    epsilons: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)
    box: float = 20.0
    steps: int = 8
    restarts: int = 1
    checked: int = 100
    lies: tuple[float, ...] = (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0)
    responses: int = 100


@dataclass(frozen=True)
class Shown:
    """Test samples as rows of observations and labels, repeated for every member."""

    x: Tensor
    label: Tensor


def shown(case: Case, count: int, members: int) -> Shown:
    """Draw test samples and repeat them for every member."""
    samples = draw(case, count, 1, torch.Generator().manual_seed(_TEST_SEED))
    x = samples.x.expand(-1, members, -1).flatten(0, 1)
    return Shown(x, samples.label.expand(-1, members).flatten())


def clean_accuracy(members: Members, tests: Shown) -> list[float]:
    """Accuracy of every member without lies, in per cent."""
    return _percentages(members(tests.x).argmax(-1) == tests.label, members)


def worst_accuracies(
    members: Members,
    case: Case,
    examination: Examination,
    tests: Shown,
    epsilons: Sequence[float],
) -> list[list[float]]:
    """Accuracy under the worst coalition in per cent, for each ε and each member.

    An infinite ε allows any report in the box. A lie that misleads also counts at every later ε in
    ``epsilons``, which must rise.
    """
    stands, found = torch.ones_like(tests.label, dtype=torch.bool), []
    for epsilon in epsilons:
        ball = _ball(epsilon, examination.box)
        ascents = [
            ProjectedGradientAscent(
                ball,
                objective,
                steps=examination.steps,
                restarts=examination.restarts,
                select="best",
            )
            for objective in (Margin(), CrossEntropy())
        ]
        attacks = [VertexSearch(ball, Margin()), *ascents]
        stands = stands & _stands(members, case, attacks, tests)
        found.append(_percentages(stands, members))
    return found


def converged_accuracy(
    members: Members, case: Case, examination: Examination, epsilon: float
) -> tuple[list[float], list[float]]:
    """Accuracy on the first samples, under the attacks of the tables and under longer attacks."""
    tests = shown(case, examination.checked, members.count)
    (usual,) = worst_accuracies(members, case, examination, tests, [epsilon])
    longer = ProjectedGradientAscent(
        _ball(epsilon, examination.box),
        Margin(),
        steps=4 * examination.steps,
        restarts=8 * examination.restarts,
        select="best",
    )
    found = _percentages(_stands(members, case, [longer], tests), members)
    return usual, found


def _ball(epsilon: float, box: float) -> Ball:
    if math.isinf(epsilon):
        return Ball("linf", 2 * box, low=-box, high=box)
    return Ball("linf", epsilon)


def _stands(members: Members, case: Case, attacks: Sequence[Adversary], tests: Shown) -> Tensor:
    """Whether each row stays right under every attack by every coalition, ``[rows]``."""
    stands = members(tests.x).argmax(-1) == tests.label
    data = {"label": tests.label}
    with rows_at_once(_ROWS - _ROWS % members.count), warnings.catch_warnings():
        # the median has no gradient in the outliers; the search of the corners needs no gradient
        warnings.simplefilter("ignore", MaskedGradientWarning)
        for attack in attacks:
            lies = LyingSources(attack, case.sources, case.liars, "all")
            found = lies(members, tests.x, torch.Generator().manual_seed(0), data)
            stands &= members(found.worst).argmax(-1) == tests.label
    return stands


def _percentages(right: Tensor, members: Members) -> list[float]:
    shares = 100 * right.reshape(-1, members.count).double().mean(0)
    return [round(share, 4) for share in shares.tolist()]


def estimate_responses(case: Case, examination: Examination) -> dict[str, list[float]]:
    """Shift of the mean and of the median of the reports along the lie, by size of the lie."""
    reports = reports_of(shown(case, examination.responses, 1).x)
    along = directions(examination.responses, _TEST_SEED)
    return shifts_of_estimates(reports, case.liars, examination.lies, along)


@torch.no_grad()
def responses(members: Members, case: Case, examination: Examination) -> dict[str, list[Tensor]]:
    """Change of every member's output when k sources lie by t in the same direction, for each t.

    Returns:
        ``fisher``: the angle 2 arccos Σ√(pq) between the distributions, at most π. ``logits``: the
        norm of the change of the centred logits. ``belief``: the common shift of all honest reports
        along the lie that gives the closest output. Each is a list over the sizes of the lie; its
        entries are means over samples, ``[members]``.
    """
    tests = shown(case, examination.responses, members.count)
    along = directions(examination.responses, _TEST_SEED).repeat_interleave(members.count, 0)
    reports, honest = reports_of(tests.x), members(tests.x)
    lies = [lying(reports, case.liars, size * along) for size in examination.lies]

    def told(reports: Tensor) -> Tensor:
        return with_reports(tests.x, reports)

    shifts = torch.linspace(-4, 4, 161)
    found = belief_and_angle(members, told, reports, lies, shifts, along, None)
    curves: dict[str, list[Tensor]] = {"fisher": [], "logits": [], "belief": []}
    for lie, (belief, angle) in zip(lies, found, strict=True):
        change = members(told(lie)) - honest
        logits = (change - change.mean(-1, keepdim=True)).norm(dim=-1)
        for name, values in (("fisher", angle), ("logits", logits), ("belief", belief)):
            curves[name].append(values.reshape(-1, members.count).mean(0))
    return curves


def sensitivities(
    members: Members, case: Case, examination: Examination, epsilon: float
) -> dict[str, list[float]]:
    """Squared Fisher norms of every member's Jacobian, averaged over samples.

    Returns:
        ``clean`` and ``perturbed``: ‖J‖²_F over the reports, at x and at x + δ. ``aligned_clean``
        and ``aligned``: ‖Jv‖² at the same two points, along the adversary's last direction v.
    """
    tests = shown(case, examination.responses, members.count)
    ascent = ProjectedGradientAscent(Ball("linf", epsilon), CrossEntropy(), steps=examination.steps)
    attack = LyingSources(ascent, case.sources, case.liars)
    generator = torch.Generator().manual_seed(0)
    found = attack(members, tests.x, generator, {"label": tests.label})
    v = found.unit(found.gradients[-1])
    values = {}
    for name, point in (("clean", tests.x), ("perturbed", found.points[-2])):
        reports = case.sources >= 0
        values[name] = frobenius_squared(
            members, point, generator, metric=FISHER, projections=8, mask=reports
        )
        output, product = directional_derivative(members, point, v, "double_backward")
        values["aligned" if name == "perturbed" else "aligned_clean"] = FISHER.squared_norm(
            output, product
        )
    return {
        name: value.detach().reshape(-1, members.count).double().mean(0).tolist()
        for name, value in values.items()
    }
