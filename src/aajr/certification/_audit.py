"""The audit of a policy: proven and measured numbers on the same states."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from aajr._checks import check_batch, check_count, check_number
from aajr._errors import ContractError
from aajr._modes import Policy, evaluating
from aajr.adversaries import Divergence, MaskedGradientWarning
from aajr.certification._attacks import Attacks
from aajr.certification._bounds import Propagator
from aajr.certification._budget import AuditBudget
from aajr.certification._certificates import Certificates, certify
from aajr.certification._findings import (
    EpsilonUnitWarning,
    GradientStatus,
    cut_off,
    epsilon_finding,
    gradient_status,
)
from aajr.certification._quantities import Finding, Quantity, Share
from aajr.certification._radius import checked_heads
from aajr.certification._region import check_ball
from aajr.certification._sensitivity import depends_on_input, sensitivities
from aajr.certification._subject import bound_method, check_precision, subject_of
from aajr.certification._tables import Results, checks, membership, quantities, shares
from aajr.geometry import Ball, Metric
from aajr.trajectory import Objective, Reference

SCHEMA_VERSION = 1
STAGES = ("random draws", "black box", "gradient attack", "sensitivities", "bounds")
"""The parts of an audit, in their order."""


@dataclass(frozen=True)
class Audit:
    """The result of an audit: the subject, the certified numbers and the measured numbers.

    Attributes:
        subject: hash of the weights, layers, and the caller's description.
        threat: the ball in words and numbers, with the unit of ε.
        states: number of states.
        not_certified: why nothing is certified; empty if something is.
        quantities: numbers per state, see :class:`Quantity`.
        shares: shares of the states.
        membership: of the classes ‖Jv‖ ≤ γ and ‖J‖ ≤ γ; empty without γ.
        findings: warnings.
        checks: invariants of the audit, measured ≤ certified in each pair; all True.
        budget: number of steps, restarts and queries of the attacks.
        seed: seed of all randomness.
        versions: versions of the packages that computed the audit.
    """

    subject: Mapping[str, str]
    threat: Mapping[str, Any]
    states: int
    not_certified: str
    quantities: tuple[Quantity, ...]
    shares: tuple[Share, ...]
    membership: Mapping[str, Any]
    findings: tuple[Finding, ...]
    checks: Mapping[str, bool]
    budget: AuditBudget
    seed: int
    versions: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain data, with ``schema_version``; see the documentation for the fields."""
        return {
            "schema_version": SCHEMA_VERSION,
            "subject": dict(self.subject),
            "threat": dict(self.threat),
            "states": self.states,
            "certified": not self.not_certified,
            "not_certified": self.not_certified,
            "quantities": {item.name: item.to_json() for item in self.quantities},
            "shares": {item.name: item.to_json() for item in self.shares},
            "membership": dict(self.membership),
            "findings": [asdict(finding) for finding in self.findings],
            "checks": dict(self.checks),
            "budget": asdict(self.budget),
            "seed": self.seed,
            "versions": dict(self.versions),
        }


def audit(
    policy: Callable[[Tensor], Tensor],
    states: Tensor,
    ball: Ball,
    *,
    heads: Sequence[int] | None = None,
    objective: Objective | None = None,
    metric: Metric | None = None,
    data: Mapping[str, Tensor] | None = None,
    gamma: float | None = None,
    budget: AuditBudget | None = None,
    seed: int = 0,
    epsilon_unit: str = "input units",
    description: Mapping[str, str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Audit:
    """Attack a policy, bound it, and compare the two on the same states.

    A policy of supported layers is audited in float64, also with half-precision weights, so that
    measured and certified numbers are about the same function. Any other policy is measured in its
    own precision, float32 or float64, and nothing is certified.

    Args:
        policy: map from ``[batch, *event]`` to ``[batch, outputs]``, independent between rows.
        states: clean inputs, ``[batch, *event]``.
        ball: the threat set, with ε > 0.
        heads: sizes of discrete heads if the policy returns logits.
        objective: what the attacks maximise; by default the change of the output.
        metric: geometry of the default objective; Euclidean by default.
        data: tensors with one row per state that the objective reads.
        gamma: γ > 0, to report the shares of states with ‖Jv‖ ≤ γ and with ‖J‖₂ ≤ γ.
        budget: number of steps, restarts and queries of the attacks.
        seed: seed of all randomness.
        epsilon_unit: unit of ε · scale.
        description: further facts for the page, for instance the environment; ``command`` is shown
            as the command that repeats the audit.
        progress: called with the name of each of :data:`STAGES` as it begins.

    Returns:
        The audit; :func:`write_audit` writes it to files.

    Raises:
        ImportError: supported layers without the extra ``certify``.
        ValueError: no states, NaN, ε = 0, γ ≤ 0, heads that do not fit, a policy whose bounds
            overflow, half precision in a policy with unsupported layers.
        ContractError: a measured value exceeds a certified one.

    Warns:
        MaskedGradientWarning: gradients that hide the worst case.
        EpsilonUnitWarning: ε larger than the range of the data.

    Example:
        >>> import aajr
        >>> from torch import nn
        >>> policy = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2))
        >>> found = audit(policy, torch.randn(32, 4), aajr.Ball("linf", 0.1))
        >>> found.checks["found_below_certified"]
        True
    """
    _check(states, ball, gamma, seed)
    budget = budget or AuditBudget()
    subject, reason, network = subject_of(policy, states)
    if network is None:
        check_precision(policy, states)
    x = states.detach() if network is None else states.detach().double()
    measured: Policy = policy if network is None else network
    goal = _in_dtype(objective, states.dtype) if objective else Divergence(*filter(None, [metric]))
    sizes = _heads(measured, x, heads)
    propagator = None
    if network is not None:
        propagator = Propagator(network, bound_method(network), budget.batch_size)
    attacks = Attacks(measured, x, ball, goal, sizes, budget, seed, dict(data or {}))
    results = _results(attacks, propagator, reason, progress or (lambda stage: None))
    certificates, status = results.certificates, results.status
    finding = epsilon_finding(ball, x, epsilon_unit)
    _warn(status, finding)
    verdict = checks(results)
    _check_order(verdict)
    return Audit(
        subject={**subject, **(description or {})},
        threat=_threat(ball, x, epsilon_unit),
        states=len(x),
        not_certified=reason,
        quantities=quantities(results),
        shares=shares(results),
        membership=membership(results, gamma),
        findings=(*status.findings, *((finding,) if finding else ())),
        checks=verdict,
        budget=budget,
        seed=seed,
        versions=_versions(certificates),
    )


def _check_order(verdict: Mapping[str, bool]) -> None:
    broken = sorted(name for name, kept in verdict.items() if not kept)
    if broken:
        raise ContractError(
            f"a measured value exceeds its certified bound, so this audit is wrong (failed "
            f"checks: {', '.join(broken)}); do not use its numbers. Check that each output row of "
            "the policy depends on its own input row alone; if it does, report the policy and the "
            "ball as a bug"
        )


def _check(states: Tensor, ball: Ball, gamma: float | None, seed: int) -> None:
    check_batch("states", states)
    check_ball(ball, states)
    check_number("ball.epsilon", ball.epsilon, exclusive=True)
    check_count("seed", seed, minimum=0)
    if gamma is not None:
        check_number("gamma", gamma, exclusive=True)


def _heads(policy: Policy, x: Tensor, heads: Sequence[int] | None) -> tuple[int, ...]:
    if heads is None:
        return ()
    with torch.no_grad(), evaluating(policy):
        return tuple(checked_heads(policy(x[:1]), heads))


def _in_dtype(objective: Objective, dtype: torch.dtype) -> Objective:
    """The user's objective in the user's precision, float32 at least."""
    dtype = torch.promote_types(dtype, torch.float32)

    def cast(value: Tensor) -> Tensor:
        return value.to(dtype) if value.is_floating_point() else value

    def converted(output: Tensor, reference: Reference) -> Tensor:
        data = {name: cast(value) for name, value in reference.data.items()}
        plain = Reference(cast(reference.inputs), cast(reference.outputs), data)
        return objective(cast(output), plain).to(output.dtype)

    return converted


def _results(
    attacks: Attacks, propagator: Propagator | None, reason: str, progress: Callable[[str], None]
) -> Results:
    progress(STAGES[0])
    without = {"random": attacks.random()}
    progress(STAGES[1])
    without["black_box"] = attacks.black_box()
    progress(STAGES[2])
    found, status = without, cut_off()
    if depends_on_input(attacks.policy, attacks.x):
        gradient = attacks.gradient()
        found = {"gradient": gradient, **without}
        status = gradient_status(gradient, tuple(without.values()))
    progress(STAGES[3])
    part = None if status.note else sensitivities(attacks, found["gradient"])
    progress(STAGES[4])
    certificates = None
    if propagator is not None:
        steps = attacks.budget.radius_steps
        certificates = certify(propagator, attacks.x, attacks.ball, attacks.heads, steps)
    return Results(found, status, part, certificates, reason, attacks.ball.epsilon)


def _warn(status: GradientStatus, finding: Finding | None) -> None:
    for item in status.findings:
        warnings.warn(item.text, MaskedGradientWarning, stacklevel=3)
    if finding is not None:
        warnings.warn(finding.text, EpsilonUnitWarning, stacklevel=3)


def _threat(ball: Ball, x: Tensor, unit: str) -> dict[str, Any]:
    allowed = ball.attackable(x).flatten(1).amax(0)
    return {
        "norm": ball.norm,
        "epsilon": ball.epsilon,
        "unit": unit,
        "scale": "1" if ball.scale is None else f"{ball.scale.min():g} to {ball.scale.max():g}",
        "attackable_features": int(allowed.sum()),
        "features": allowed.numel(),
        "valid_inputs": "all" if ball.low is None and ball.high is None else "cut by low and high",
    }


def _versions(certificates: Certificates | None) -> dict[str, str]:
    from importlib.metadata import version

    names = ["aajr", "torch", *(["bound-propagation"] if certificates else [])]
    return {name: version(name) for name in names}
