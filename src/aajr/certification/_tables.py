"""From results to the rows of an audit, and the check that measured ≤ certified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from aajr.certification._attacks import AttackResult
from aajr.certification._certificates import Certificates
from aajr.certification._findings import GradientStatus
from aajr.certification._quantities import UNCERTIFIED, Kind, Quantity, Share, per_state
from aajr.certification._sensitivity import Sensitivities

_ATTACKS = {
    "random": "random draws",
    "gradient": "the gradient attack",
    "black_box": "the black-box attack",
}


@dataclass(frozen=True, eq=False)
class Results:
    """All measured and certified results.

    Attributes:
        found: result of each attack by name; without the gradient attack if there is no gradient.
        status: whether gradients can be trusted.
        sensitivity: sensitivities; None if gradients cannot be trusted.
        certificates: certified bounds; None if nothing is certified.
        reason: why nothing is certified.
        epsilon: ε.
    """

    found: Mapping[str, AttackResult]
    status: GradientStatus
    sensitivity: Sensitivities | None
    certificates: Certificates | None
    reason: str
    epsilon: float

    def note(self, attack: str) -> str:
        """The text shown instead of the numbers of an attack; empty to show the numbers."""
        return self.status.note if attack == "gradient" else ""

    @property
    def worst(self) -> Tensor:
        """The largest change that any attack found, ``[batch]``."""
        return torch.stack([found.change for found in self.found.values()]).amax(0)

    @property
    def radius(self) -> Tensor | None:
        """The smallest size of a δ that changes an action, over all attacks, ``[batch]``."""
        radii = [found.radius for found in self.found.values() if found.radius is not None]
        return torch.stack(radii).amin(0) if radii else None


def quantities(results: Results) -> tuple[Quantity, ...]:
    """The numbers per state; each measured number comes before its certified counterpart."""
    rows = [*_changes(results), *_sensitivities(results)]
    if results.radius is not None:
        unit = "units of ε"
        found = "smallest perturbation found that changes an action"
        note = "states without a value kept their action under every attack within ε"
        proven = "radius without a change of action"
        certified = results.certificates.radius if results.certificates else None
        rows += [
            _measured("radius_found", found, unit, results.radius, note),
            _certified("radius_certified", proven, unit, certified),
        ]
    return tuple(rows)


def shares(results: Results) -> tuple[Share, ...]:
    """Shares of the states, for policies with discrete heads."""
    if results.radius is None:
        return ()
    rows = []
    for name, label in _ATTACKS.items():
        note = results.note(name)
        radius = None if note else results.found[name].radius
        changed = None if radius is None else radius.isfinite()
        rows.append(
            _share(f"changed_{name}", f"action changed by {label}", "measured", changed, note)
        )
    radius = results.certificates.radius if results.certificates else None
    certain = None if radius is None else radius >= results.epsilon
    note = UNCERTIFIED if radius is None else ""
    any_attack, proven = "action changed by any attack", "action proven constant within ε"
    return (
        *rows,
        _share("changed", any_attack, "measured", results.radius.isfinite()),
        _share("certain", proven, "certified", certain, note),
    )


def membership(results: Results, gamma: float | None) -> dict[str, Any]:
    """Shares of states with ‖Jv‖ ≤ γ and ‖J‖₂ ≤ γ, and whether the second is proven."""
    if gamma is None:
        return {}
    part, proof = results.sensitivity, results.certificates
    return {
        "gamma": gamma,
        # a zero gradient has no direction, and F does not move: the state is in the class
        "aligned_share": None if part is None else _mean(~(part.aligned > gamma)),
        "spectral_share": None if part is None else _mean(part.spectral_all <= gamma),
        "proven_global": proof is not None and proof.lipschitz_all <= gamma,
        "note": results.status.note,
    }


def checks(results: Results) -> dict[str, bool]:
    """Measured ≤ certified, wherever both exist; False is a bug in the audit."""
    verdict = {}
    part, proof = results.sensitivity, results.certificates
    if part is not None:
        verdict["random_below_spectral"] = _below(part.random, part.spectral)
        verdict["aligned_below_spectral"] = _below(part.aligned.nan_to_num(), part.spectral)
    if proof is not None:
        # the bounds' own margins cover the rounding of the outputs
        allowed = proof.change * (1 + 1e-12)
        verdict["found_below_certified"] = bool((results.worst <= allowed).all())
        if part is not None:
            bound = torch.full_like(part.spectral, proof.lipschitz)
            verdict["spectral_below_lipschitz"] = _below(part.spectral, bound)
        if results.radius is not None and proof.radius is not None:
            within = _below(proof.radius, results.radius)
            verdict["certified_radius_below_found"] = within
    return verdict


def _changes(results: Results) -> list[Quantity]:
    unit, rows = "output units", []
    for name, label in _ATTACKS.items():
        note = results.note(name)
        change = None if note else results.found[name].change
        label = f"largest change found by {label}"
        rows.append(_measured(f"change_{name}", label, unit, change, note))
    label = "largest change found by any attack"
    rows.append(_measured("change_found", label, unit, results.worst))
    return rows + [
        _certified(f"change_{name}", label, unit, getattr(results.certificates, field, None))
        for name, field, label in (
            ("lipschitz", "change_lipschitz", "bound by the Lipschitz constant"),
            ("ibp", "change_ibp", "bound by IBP"),
            ("crown", "change_crown", "bound by CROWN and IBP"),
            ("certified", "change", "largest change possible: the least bound"),
        )
    ]


def _sensitivities(results: Results) -> list[Quantity]:
    unit, part, proof = "output units per input unit", results.sensitivity, results.certificates
    note = results.status.note
    rows = [
        _measured(f"sensitivity_{name}", label, unit, getattr(part, name, None), note)
        for name, label in (
            ("random", "sensitivity in random directions"),
            ("aligned", "sensitivity along the attack direction, ‖Jv‖"),
            ("spectral", "spectral norm ‖J‖ on attackable features"),
        )
    ]
    constant = None if proof is None else torch.tensor([proof.lipschitz], dtype=torch.float64)
    return [*rows, _certified("lipschitz", "global Lipschitz constant", unit, constant)]


def _measured(name: str, label: str, unit: str, values: Tensor | None, note: str = "") -> Quantity:
    return Quantity(name, label, "measured", unit, per_state(values), note)


def _certified(name: str, label: str, unit: str, values: Tensor | None) -> Quantity:
    note = UNCERTIFIED if values is None else ""
    return Quantity(name, label, "certified", unit, per_state(values), note)


def _share(name: str, label: str, kind: Kind, where: Tensor | None, note: str = "") -> Share:
    return Share(name, label, kind, None if where is None else _mean(where), note)


def _mean(where: Tensor) -> float:
    return float(where.double().mean())


def _below(small: Tensor, large: Tensor) -> bool:
    relative = 1e-9 if small.dtype == torch.float64 else 1e-3
    return bool((small <= large * (1 + relative) + relative * 1e-3).all())
