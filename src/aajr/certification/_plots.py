"""The plots of an audit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib

from aajr.certification._audit import Audit
from aajr.certification._quantities import find
from aajr.report.figures import Plot, blank_figure
from aajr.report.style import BLUE, GREEN, GREY, ORANGE, STYLE

# Lines also differ in their dashes, for prints without colour.
_LOOKS = {
    "random": (GREY, ":"),
    "found": (ORANGE, "-"),
    "third": (GREEN, "-."),
    "certified": (BLUE, "--"),
}


def draw(audit: Audit) -> list[Plot]:
    """Draw every plot for which the audit has numbers."""
    with matplotlib.rc_context(STYLE):
        drawn = [drawer(audit) for drawer in (_change, _sensitivity, _radius)]
    return [plot for plot in drawn if plot is not None]


def _change(audit: Audit) -> Plot | None:
    lines = [
        ("change_random", "found by random draws", "random"),
        ("change_found", "found by any attack", "found"),
        ("change_certified", "certified: no δ exceeds it", "certified"),
    ]
    caption = (
        "Share of states on which the output moves by at most the value below. The true worst "
        "case lies between what was found and what is certified."
    )
    figure = _cumulative(audit, lines, "‖π(x + δ) - π(x)‖₂, output units")
    figure.axes[0].set_title("Change of the output within ε")
    return Plot("change", caption, figure)


def _sensitivity(audit: Audit) -> Plot | None:
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
    figure = _cumulative(audit, lines, "output units per input unit")
    figure.axes[0].set_title("Sensitivity")
    return Plot("sensitivity", caption, figure)


def _radius(audit: Audit) -> Plot | None:
    if not any(item.name == "radius_found" for item in audit.quantities):
        return None
    epsilon = float(audit.threat["epsilon"])
    figure, axis = _axes()
    for name, label, look in (
        ("radius_found", "no attack changed the action", "found"),
        ("radius_certified", "proven: no δ can change it", "certified"),
    ):
        if values := find(audit.quantities, name).values:
            _stairs(axis, _surviving(values, epsilon), label, look)
    axis.set(title="States whose action stands", xlim=(0, epsilon), ylim=(0, 1.02))
    axis.set_xlabel(f"size of the perturbation ‖δ/s‖, {audit.threat['unit']}")
    _legend(figure)
    caption = (
        "Share of states whose action no attack changed, above, and provably cannot change, "
        "below, against the size of the perturbation. Between the lines nothing is known."
    )
    return Plot("radius", caption, figure)


def _cumulative(audit: Audit, lines: Sequence[tuple[str, str, str]], label: str) -> Any:
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
    axis.set(xlabel=label, ylim=(0, 1.02))
    axis.set_xlim(left=0)
    _legend(figure)
    return figure


def _surviving(radii: Sequence[float], largest: float) -> list[tuple[float, float]]:
    """Share of radii that exceed r, as corners of a step function from 0 to ``largest``."""
    ends = sorted(radius for radius in radii if radius < largest)
    count = len(radii)
    steps = [(radius, 1 - (rank + 1) / count) for rank, radius in enumerate(ends)]
    return [(0.0, 1.0), *steps, (largest, 1 - len(ends) / count)]


def _stairs(axis: Any, points: Sequence[tuple[float, float]], label: str, look: str) -> None:
    color, dashes = _LOOKS[look]
    x, y = zip(*points, strict=True)
    axis.plot(x, y, drawstyle="steps-post", color=color, linestyle=dashes, lw=1.6, label=label)


def _axes() -> tuple[Any, Any]:
    figure = blank_figure(6.4, 3.5)
    axis = figure.add_subplot()
    axis.set_ylabel("share of states")
    return figure, axis


def _legend(figure: Any) -> None:
    figure.legend(loc="outside lower center", ncols=2, fontsize=8.5)
