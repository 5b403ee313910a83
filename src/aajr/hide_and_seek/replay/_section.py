"""The replay as a section of a web page: controls, two canvases, data."""

from __future__ import annotations

import json
from collections.abc import Callable

from markupsafe import Markup

from aajr.hide_and_seek.replay._replay import Replay, replay_json
from aajr.report.pages import render
from aajr.report.style import BLUE, ORANGE, PURPLE

COLOURS = {"hider": BLUE, "seeker": ORANGE, "box": "#777777", "lie": PURPLE}


def replay_section(replay: Replay, title: Callable[[str], str] = str) -> Markup:
    """HTML of one replay; the page includes ``replay.css`` and ``replay.js`` once.

    Args:
        replay: the replay. Its first two methods are shown side by side.
        title: maps the name of a method to the heading of its panel.
    """
    episodes = replay.episodes
    methods = list(dict.fromkeys(episode.method for episode in episodes))[:2]
    return render(
        "hide_and_seek/replay/replay.html",
        replay=replay,
        methods={title(m): [e for e in episodes if e.method == m] for m in methods},
        attacked=[episode for episode in episodes if episode.attack != "none"],
        views={episode.attack: episode.epsilon for episode in episodes},
        colours=json.dumps(COLOURS),
        blue=BLUE,
        orange=ORANGE,
        purple=PURPLE,
        # "<" would end the script element early
        data=Markup(replay_json(replay).replace("<", "\\u003c")),
    )
