"""An audit as files: ``audit.json`` and one HTML page without scripts or links."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from aajr.certification._audit import Audit
from aajr.certification._plots import draw
from aajr.certification._quantities import UNCERTIFIED, Kind, Quantity, find, finite

_CSS = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff;
  max-width: 56rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: right; vertical-align: top; }
th:first-child, .facts td { text-align: left; } tbody th { font-weight: 400; }
thead th { border-bottom: 1px solid #888; vertical-align: bottom; }
.facts th { color: #555; white-space: nowrap; } .facts td { overflow-wrap: anywhere; }
small, figcaption { color: #555; font-size: .85rem; margin: .3rem 0; }
figure { margin: 1.2rem 0; } img { max-width: 100%; height: auto; }
code { background: #f3f3f3; padding: .15rem .35rem; overflow-wrap: anywhere; }
pre { background: #f3f3f3; padding: .6rem; white-space: pre-wrap; overflow-wrap: anywhere; }
section { padding-left: .9rem; border-left: 4px solid #ddd; }
.proven { border-color: #0072b2; } .measured { border-color: #d55e00; }
.warnings { border-color: #000; background: #fff6e5; padding: .1rem .9rem; }
@media print { body { max-width: none; font-size: 10pt; padding: 0; }
  figure, table, section.warnings { break-inside: avoid; } h2 { break-after: avoid; }
  .wide { overflow: visible; } table { font-size: 8pt; } th, td { padding: .15rem .3rem; } }
"""


def write_audit(audit: Audit, directory: Path | str) -> Path:
    """Write ``audit.json`` and ``audit.html``; the same audit gives the same bytes.

    Args:
        audit: what :func:`audit` returned.
        directory: where to write; it is made if need be.

    Returns:
        The page.

    Raises:
        ImportError: without matplotlib.
    """
    page = html_page(audit, draw(audit))
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps(audit.to_json(), indent=1, allow_nan=False, ensure_ascii=False)
    (directory / "audit.json").write_text(text + "\n", encoding="utf-8")
    path = directory / "audit.html"
    path.write_text(page, encoding="utf-8")
    return path


def html_page(audit: Audit, plots: Mapping[str, tuple[bytes, str]]) -> str:
    """The page as a text; every string of the audit is escaped."""
    parts = [
        "<h1>Audit of a policy</h1>",
        f"<p>{escape(_summary(audit))}</p>",
        _warnings(audit),
        _short(audit),
        "<h2>What was audited</h2>",
        _facts({**_subject(audit), **_threat(audit)}),
        _proven(audit),
        _measured(audit),
        *(_picture(svg, caption) for svg, caption in plots.values()),
        "<h2>Limits</h2>",
        _list(_limits(audit)),
        "<h2>How to run it again</h2>",
        _again(audit),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Audit of a policy</title><style>{_CSS}</style></head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body></html>\n"
    )


def comparison(audit: Audit) -> list[tuple[str, str, str]]:
    """Rows of what was measured next to what is certified: label, measured, certified."""
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
    """Three digits; an infinite value reads as none found."""
    if value is None:
        return missing
    return "none" if finite(value) is None else f"{value:.3g}"


def _summary(audit: Audit) -> str:
    threat = audit.threat
    start = (
        f"{audit.states} states; every perturbation δ with ‖δ/s‖ ≤ {threat['epsilon']:g} "
        f"{threat['unit']} in the {threat['norm']} norm, on {threat['attackable_features']} of "
        f"{threat['features']} features."
    )
    if audit.not_certified:
        return f"{start} Nothing is certified: the numbers below are measured only."
    return f"{start} Measured numbers are what attacks found; certified ones hold for every such δ."


def _short(audit: Audit) -> str:
    body = "".join(
        f'<tr><th scope="row">{escape(label)}</th><td>{escape(measured)}</td>'
        f"<td>{escape(certified)}</td></tr>"
        for label, measured, certified in comparison(audit)
    )
    head = '<tr><th></th><th scope="col">measured</th><th scope="col">certified</th></tr>'
    return f'<div class="wide"><table><thead>{head}</thead><tbody>{body}</tbody></table></div>'


def _warnings(audit: Audit) -> str:
    if not audit.findings:
        return ""
    items = _list(finding.text for finding in audit.findings)
    return f'<section class="warnings"><h2>Warnings</h2>{items}</section>'


def _proven(audit: Audit) -> str:
    if audit.not_certified:
        body = (
            "<p><strong>Nothing is certified.</strong> Bound propagation does not cover this "
            f"policy: {escape(audit.not_certified)}.</p>"
        )
    else:
        body = (
            "<p>For every δ of the threat set, on each of these states; the Lipschitz constant "
            "holds for all inputs.</p>" + _shares(audit, "certified") + _table(audit, "certified")
        )
        if audit.membership.get("proven_global"):
            body += f"<p>‖J(x)‖₂ ≤ γ = {audit.membership['gamma']:g} is proven for all inputs.</p>"
    return f'<section class="proven"><h2>What is proven</h2>{body}</section>'


def _measured(audit: Audit) -> str:
    body = (
        "<p>The worst that attacks found on the same states. A stronger attack may find more.</p>"
        + _shares(audit, "measured")
        + _table(audit, "measured")
        + _membership(audit.membership)
    )
    return f'<section class="measured"><h2>What is only measured</h2>{body}</section>'


def _table(audit: Audit, kind: Kind) -> str:
    columns = ("", "least", "median", "95 % quantile", "largest", "unit")
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    body = "".join(_row(item) for item in audit.quantities if item.kind == kind)
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        "</div>"
    )


def _row(item: Quantity) -> str:
    note = f"<br><small>{escape(item.note)}</small>" if item.note and item.available else ""
    name = f'<th scope="row">{escape(item.label)}{note}</th>'
    if not item.available:
        return f'<tr>{name}<td colspan="5">{escape(item.note)}</td></tr>'
    if len(item.values) == 1:
        cells = ["", "", "", number(item.values[0])]
    else:
        cells = [number(item.quantile(level)) for level in (0.0, 0.5, 0.95, 1.0)]
    row = "".join(f"<td>{escape(cell)}</td>" for cell in (*cells, item.unit))
    return f"<tr>{name}{row}</tr>"


def _shares(audit: Audit, kind: Kind) -> str:
    rows = {
        item.label: item.note if item.value is None else f"{item.value:.1%} of the states"
        for item in audit.shares
        if item.kind == kind
    }
    return _facts(rows) if rows else ""


def _membership(facts: Mapping[str, Any]) -> str:
    if not facts:
        return ""
    rows = {}
    for name, label in (("aligned_share", "‖Jv‖ ≤ γ"), ("spectral_share", "‖J‖₂ ≤ γ")):
        share = facts[name]
        words = (
            facts["note"] if share is None else f"{share:.1%} of the states, at the attack's points"
        )
        rows[f"{label} with γ = {facts['gamma']:g}"] = words
    return _facts(rows)


def _subject(audit: Audit) -> dict[str, str]:
    hidden = {"command"}
    return {k.replace("_", " "): v for k, v in audit.subject.items() if k not in hidden}


def _threat(audit: Audit) -> dict[str, str]:
    threat = audit.threat
    return {
        "ε": f"{threat['epsilon']:g} {threat['unit']}, {threat['norm']} norm",
        "scale s": str(threat["scale"]),
        "attackable features": f"{threat['attackable_features']} of {threat['features']}",
        "valid inputs": str(threat["valid_inputs"]),
        "states": str(audit.states),
    }


def _limits(audit: Audit) -> Iterable[str]:
    yield (
        "Every statement is about the states audited and the threat set named above, one decision "
        "at a time. What a perturbation does to a whole episode is not bounded here."
    )
    yield "Sensitivities are those at the attacks' points; between points they may be larger."
    if audit.not_certified:
        yield "Nothing here is a guarantee: a stronger attack may find a larger change."
        return
    yield (
        "Proofs are about the function that the weights define, in exact arithmetic; all rounding "
        "of the float64 bounds is covered. A policy run in float32 adds its own rounding, about "
        "1e-6 of its values."
    )
    if audit.threat["norm"] == "l2":
        yield "CROWN uses the l2 ball itself; IBP uses the smallest box around it."
    yield (
        "Where found and certified differ, the true value lies between them and is not known. "
        "CROWN and IBP loosen with ε, depth and width."
    )


def _again(audit: Audit) -> str:
    budget = ", ".join(f"{name}={value}" for name, value in vars(audit.budget).items())
    call = f"audit(policy, states, ball, seed={audit.seed}, budget=AuditBudget({budget}))"
    command = audit.subject.get("command", call)
    versions = ", ".join(f"{name} {value}" for name, value in audit.versions.items())
    passed = ", ".join(name.replace("_", " ") for name, ok in audit.checks.items() if ok)
    facts = {"seed": str(audit.seed), "budget": budget, "versions": versions, "checks": passed}
    return f"<pre>{escape(command)}</pre>{_facts(facts)}"


def _facts(facts: Mapping[str, str]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(str(value))}</td></tr>'
        for name, value in facts.items()
    )
    return f'<div class="wide"><table class="facts"><tbody>{rows}</tbody></table></div>'


def _list(items: Iterable[str] | Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"


def _picture(svg: bytes, caption: str) -> str:
    # As an image, not inline: identifiers inside one SVG cannot meet those of another.
    source = "data:image/svg+xml;base64," + base64.b64encode(svg).decode("ascii")
    text = escape(caption)
    return f'<figure><img src="{source}" alt="{text}"><figcaption>{text}</figcaption></figure>'
