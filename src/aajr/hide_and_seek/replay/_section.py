"""The replay as a part of the page: controls, two canvases, data, script."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from html import escape
from importlib.resources import files

from aajr.hide_and_seek.replay._replay import Episode, Replay, replay_json
from aajr.report import wording
from aajr.report.style import BLUE, ORANGE

SPEEDS = (2, 4, 8, 16, 32)
"""Steps per second to choose from."""

COLOURS = {"hider": BLUE, "seeker": ORANGE, "box": "#777777"}


@cache
def asset(name: str) -> str:
    """Text of a file of this package, ``replay.js`` or ``replay.css``."""
    return files("aajr.hide_and_seek.replay").joinpath(name).read_text(encoding="utf-8")


def replay_section(replay: Replay) -> str:
    """HTML of one replay; the page adds ``replay.css`` and ``replay.js`` once.

    Args:
        replay: what was recorded. The first two methods are shown side by side.
    """
    methods = list(dict.fromkeys(episode.method for episode in replay.episodes))[:2]
    panels = "".join(_panel(method, replay) for method in methods)
    # "<" would end the script element early
    data = replay_json(replay).replace("<", "\\u003c")
    return (
        f"<section class=\"replay\" data-colours='{json.dumps(COLOURS)}'>"
        f"<h2>Episode replay</h2><p>{escape(_introduction(replay))}</p>{_key()}"
        f'<div class="panels">{panels}</div>{_controls(replay)}'
        f'<script type="application/json">{data}</script></section>'
    )


def _introduction(replay: Replay) -> str:
    attacked = [episode for episode in replay.episodes if episode.attack != "none"]
    text = (
        "One start, the first of the match and not chosen for its looks, played by each method "
        "against the same frozen seekers. One episode is an illustration, never evidence."
    )
    if attacked:
        text += (
            f" Under attack ({attacked[0].attack}, ε = {attacked[0].epsilon:g}, threat "
            f"'{replay.threat}') the dashed ghosts show where the chosen hider is told the others "
            "are; a thin line leads from each ghost to the truth."
        )
    return text


def _panel(method: str, replay: Replay) -> str:
    name = escape(wording.title(method))
    outcomes = "; ".join(_outcome(item) for item in replay.episodes if item.method == method)
    return (
        f'<div class="panel"><h3>{name}</h3>'
        f'<canvas width="440" height="440" tabindex="0" role="img" '
        f'aria-label="{name}: hide-and-seek from above"></canvas>'
        f'<p class="state"></p><p class="note">{escape(outcomes)}.</p>'
        f'<div class="stills"></div></div>'
    )


def _outcome(episode: Episode) -> str:
    winner = "hiders" if episode.success else "seekers"
    return f"{_view(episode.attack, episode.epsilon)}: {winner} win"


def _view(attack: str, epsilon: float) -> str:
    return "clean" if attack == "none" else f"{attack}, ε = {epsilon:g}"


def _key() -> str:
    shapes = (
        (f'<circle cx="8" cy="8" r="6" fill="{BLUE}"/>', "hider"),
        (f'<path d="M8 1 15 8 8 15 1 8z" fill="{ORANGE}"/>', "seeker"),
        (f'<path d="M1 8H15" stroke="{ORANGE}" stroke-width="2"/>', "seeker sees hider"),
        ('<rect x="2" y="2" width="12" height="12" fill="#d9d9d9" stroke="#777"/>', "box"),
        (
            f'<path d="M2 2H14V14H2ZM2 14 14 2" fill="#d9d9d9" stroke="{BLUE}" stroke-width="2"/>',
            "box locked by hiders (crossed in orange: by seekers)",
        ),
        (
            f'<circle cx="8" cy="8" r="6" fill="none" stroke="{BLUE}" stroke-dasharray="3 2"/>',
            "what the chosen hider is shown",
        ),
        (
            '<circle cx="8" cy="8" r="6" fill="none" stroke="#999" stroke-dasharray="2 3"/>',
            "its view radius",
        ),
    )
    items = "".join(
        f'<li><svg viewBox="0 0 16 16" aria-hidden="true">{shape}</svg> {escape(name)}</li>'
        for shape, name in shapes
    )
    return f'<ul class="key">{items}</ul>'


def _controls(replay: Replay) -> str:
    hiders = _options((str(i), str(i + 1)) for i in range(replay.game["hiders"]))
    attacks = {episode.attack: episode.epsilon for episode in replay.episodes}
    views = _options((name, _view(name, epsilon)) for name, epsilon in attacks.items())
    speeds = "".join(
        f'<option value="{speed}"{" selected" if speed == 8 else ""}>{speed} steps/s</option>'
        for speed in SPEEDS
    )
    return (
        '<div class="controls" role="group" aria-label="Replay controls">'
        '<button type="button" data-part="play">Play</button>'
        '<button type="button" data-part="back" aria-label="one step back">◀</button>'
        '<button type="button" data-part="forward" aria-label="one step forward">▶</button>'
        '<input type="range" data-part="scrub" min="0" max="0" value="0" aria-label="step">'
        '<output data-part="clock"></output>'
        f'<label>speed <select data-part="speed">{speeds}</select></label>'
        f'<label>hider <select data-part="hider">{hiders}</select></label>'
        f'<label>view <select data-part="view">{views}</select></label></div>'
        '<p class="note keys">Keys: <kbd>space</kbd> plays and pauses, <kbd>←</kbd> <kbd>→</kbd> '
        "step, <kbd>Home</kbd> <kbd>End</kbd> jump, <kbd>+</kbd> <kbd>−</kbd> change the speed, "
        "<kbd>1</kbd>–<kbd>9</kbd> choose a hider, <kbd>s</kbd> switches the view.</p>"
    )


def _options(pairs: Iterable[tuple[str, str]]) -> str:
    return "".join(
        f'<option value="{escape(value)}">{escape(text)}</option>' for value, text in pairs
    )
