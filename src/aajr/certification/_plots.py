"""The plots of an audit, as SVG with the same bytes for the same numbers."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

from aajr.certification._audit import Audit
from aajr.certification._quantities import find

_STYLE: dict[str, Any] = {
    "svg.hashsalt": "aajr",
    "svg.fonttype": "path",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "legend.frameon": False,
}
# Okabe and Ito's palette; lines differ in their dashes too, for print without colour.
_LOOKS = {
    "random": ("#555555", ":"),
    "found": ("#D55E00", "-"),
    "third": ("#009E73", "-."),
    "certified": ("#0072B2", "--"),
}


def draw(audit: Audit) -> dict[str, tuple[bytes, str]]:
    """SVG and caption of every plot, by name.

    Raises:
        ImportError: without matplotlib.
    """
    try:
        from matplotlib import rc_context
    except ImportError as error:
        raise ImportError(
            "the page's plots need matplotlib: pip install 'aajr[certify]'"
        ) from error
    plots = {"change": _change, "sensitivity": _sensitivity, "radius": _radius}
    with rc_context(_STYLE):
        drawn = {name: plot(audit) for name, plot in plots.items()}
    return {name: value for name, value in drawn.items() if value is not None}


def _change(audit: Audit) -> tuple[bytes, str] | None:
    lines = [
        ("change_random", "found by random draws", "random"),
        ("change_found", "found by any attack", "found"),
        ("change_certified", "certified: no δ exceeds it", "certified"),
    ]
    caption = (
        "Share of states on which the output moves by at most the value below. The true worst "
        "case lies between what was found and what is certified."
    )
    title = "Change of the output within ε"
    return _cumulative(audit, lines, title, "‖π(x + δ) - π(x)‖₂, output units"), caption


def _sensitivity(audit: Audit) -> tuple[bytes, str] | None:
    if not find(audit.quantities, "sensitivity_spectral").available:
        return None
    lines = [
        ("sensitivity_random", "random directions", "random"),
        ("sensitivity_aligned", "attack direction, ‖Jv‖", "found"),
        ("sensitivity_spectral", "spectral norm ‖J‖", "third"),
        ("lipschitz", "certified for all inputs", "certified"),
    ]
    caption = (
        "Share of states with at most this sensitivity at the attack's points, on attackable "
        "features. Only the certified line holds for other points too."
    )
    label = "output units per input unit"
    return _cumulative(audit, lines, "Sensitivity", label), caption


def _radius(audit: Audit) -> tuple[bytes, str] | None:
    if not any(item.name == "radius_found" for item in audit.quantities):
        return None
    epsilon = float(audit.threat["epsilon"])
    figure, axis = _axes()
    found = find(audit.quantities, "radius_found").values
    certified = find(audit.quantities, "radius_certified").values
    for values, label, look in (
        (found, "no attack changed the action", "found"),
        (certified, "proven: no δ can change it", "certified"),
    ):
        if values:
            _stairs(axis, _surviving(values, epsilon), label, look)
    axis.set(title="States whose action stands", xlim=(0, epsilon), ylim=(0, 1.02))
    axis.set_xlabel(f"size of the perturbation ‖δ/s‖, {audit.threat['unit']}")
    caption = (
        "Share of states whose action no attack changed, above, and provably cannot change, "
        "below, against the size of the perturbation. Between the lines nothing is known."
    )
    return _svg(figure), caption


def _cumulative(
    audit: Audit, lines: Sequence[tuple[str, str, str]], title: str, label: str
) -> bytes:
    figure, axis = _axes()
    for name, text, look in lines:
        values = sorted(v for v in find(audit.quantities, name).values if math.isfinite(v))
        color, dashes = _LOOKS[look]
        if len(values) == 1 and audit.states > 1:
            axis.axvline(values[0], color=color, linestyle=dashes, linewidth=1.6, label=text)
        elif values:
            count = len(values)
            points = [(value, (rank + 1) / count) for rank, value in enumerate(values)]
            _stairs(axis, [(values[0], 0.0), *points], text, look)
    axis.set(title=title, xlabel=label, ylabel="share of states", ylim=(0, 1.02))
    axis.set_xlim(left=0)
    return _svg(figure)


def _surviving(radii: Sequence[float], largest: float) -> list[tuple[float, float]]:
    """Share of radii that exceed r, as corners of a staircase from 0 to the largest."""
    ends = sorted(radius for radius in radii if radius < largest)
    count = len(radii)
    steps = [(radius, 1 - (rank + 1) / count) for rank, radius in enumerate(ends)]
    return [(0.0, 1.0), *steps, (largest, 1 - len(ends) / count)]


def _stairs(axis: Any, points: Sequence[tuple[float, float]], label: str, look: str) -> None:
    color, dashes = _LOOKS[look]
    x, y = zip(*points, strict=True)
    axis.plot(x, y, drawstyle="steps-post", color=color, linestyle=dashes, lw=1.6, label=label)


def _axes() -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.5), layout="constrained")
    axis = figure.add_subplot()
    axis.set_ylabel("share of states")
    return figure, axis


def _svg(figure: Any) -> bytes:
    figure.legend(loc="outside lower center", ncols=2, fontsize=8.5)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
