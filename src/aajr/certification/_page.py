"""An audit as files: ``audit.json`` and one HTML page without scripts or links."""

from __future__ import annotations

import json
from pathlib import Path

from aajr.certification._audit import Audit
from aajr.certification._quantities import UNCERTIFIED, find, finite


def write_audit(audit: Audit, directory: Path | str) -> Path:
    """Write ``audit.json`` and ``audit.html``; the same audit gives the same bytes.

    Args:
        audit: what :func:`audit` returned.
        directory: where to write; created if it does not exist.

    Returns:
        The path of the page.

    Raises:
        ImportError: without matplotlib or Jinja2.
    """
    page = html_page(audit)
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps(audit.to_json(), indent=1, allow_nan=False, ensure_ascii=False)
    (directory / "audit.json").write_text(text + "\n", encoding="utf-8")
    path = directory / "audit.html"
    path.write_text(page, encoding="utf-8")
    return path


def html_page(audit: Audit) -> str:
    """The page as a text; every string of the audit is escaped."""
    try:
        from aajr.certification._plots import draw
        from aajr.report.pages import render
    except ImportError as error:
        raise ImportError(
            "the page needs matplotlib and Jinja2: pip install 'aajr[certify]'"
        ) from error
    budget = ", ".join(f"{name}={value}" for name, value in vars(audit.budget).items())
    call = f"audit(policy, states, ball, seed={audit.seed}, budget=AuditBudget({budget}))"
    return render(
        "certification/audit.html",
        audit=audit,
        comparison=comparison_rows(audit),
        number=number,
        subject=_subject(audit),
        plots=draw(audit),
        command=audit.subject.get("command", call),
        rerun=_rerun(audit, budget),
    )


def comparison_rows(audit: Audit) -> list[tuple[str, str, str]]:
    """Rows with the measured next to the certified number: label, measured, certified."""
    names = [
        ("change of the output, median", "change_found", "change_certified", 0.5),
        ("change of the output, 95 % quantile", "change_found", "change_certified", 0.95),
        ("change of the output, largest", "change_found", "change_certified", 1.0),
        ("sensitivity, largest", "sensitivity_spectral", "lipschitz", 1.0),
    ]
    if audit.shares:
        label = "perturbation that changes an action, median"
        names.append((label, "radius_found", "radius_certified", 0.5))
    rows = []
    for label, *pair, level in names:
        items = [find(audit.quantities, str(name)) for name in pair]
        cells = [number(i.quantile(float(level))) if i.available else i.note for i in items]
        rows.append((label, cells[0], cells[1]))
    shares = {item.name: item.value for item in audit.shares}
    if shares:
        certain = shares["certain"]
        most = UNCERTIFIED if certain is None else f"at most {1 - certain:.1%}"
        rows.append(("states whose action changes", f"at least {shares['changed']:.1%}", most))
    return rows


def number(value: float | None, missing: str = "–") -> str:
    """The number with three digits; an infinite value reads as none found."""
    if value is None:
        return missing
    return "none" if finite(value) is None else f"{value:.3g}"


def _subject(audit: Audit) -> dict[str, str]:
    threat = audit.threat
    return {
        **{name: value for name, value in audit.subject.items() if name != "command"},
        "ε": f"{threat['epsilon']:g} {threat['unit']}, {threat['norm']} norm",
        "scale s": str(threat["scale"]),
        "attackable features": f"{threat['attackable_features']} of {threat['features']}",
        "valid inputs": str(threat["valid_inputs"]),
        "states": str(audit.states),
    }


def _rerun(audit: Audit, budget: str) -> dict[str, str]:
    versions = ", ".join(f"{name} {value}" for name, value in audit.versions.items())
    passed = ", ".join(name.replace("_", " ") for name, held in audit.checks.items() if held)
    return {"seed": str(audit.seed), "budget": budget, "versions": versions, "checks": passed}
