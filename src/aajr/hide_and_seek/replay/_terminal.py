"""A frame of an episode as text, for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from aajr.hide_and_seek.replay._replay import Episode
from aajr.report.style import BLUE, ORANGE

_STYLES = {" ": "", "█": "#777777", "▒": "#999999"}
_LOCKS = {0: "▒", 1: "▓", 2: "▚"}


def frame_text(game: Mapping[str, Any], episode: Episode, frame: int, rows: int = 24) -> Text:
    """Draw the arena from above; a character is half as wide as it is high.

    Hiders are blue numbers, in reverse video while a seeker sees them; seekers are orange letters.
    Walls are solid and boxes grey. Locked boxes are darker: ``▓`` if hiders locked them, ``▚`` if
    seekers did.

    Args:
        game: facts of the game, see :class:`Replay`.
        episode: the recorded episode.
        frame: index of the frame.
        rows: height of the arena in lines.

    Raises:
        ValueError: the episode has no such frame, or ``rows`` is not positive.
    """
    if not 0 <= frame < episode.frames:
        raise ValueError(f"frame={frame} is not in 0…{episode.frames - 1}")
    if rows < 1:
        raise ValueError(f"rows={rows} is not allowed; give at least 1")
    grid = _blank(game, episode, frame, rows)
    seen = {hider for _, hider in episode.sights[frame]}
    for agent, point in enumerate(episode.agents[frame]):
        hides = agent < game["hiders"]
        sign = str(agent + 1) if hides else chr(ord("A") + agent - game["hiders"])
        style = f"bold {BLUE if hides else ORANGE}" + (
            " reverse" if hides and agent in seen else ""
        )
        row, column = _cell(point, rows)
        grid[row][column] = (sign[-1], style)
    text = Text(no_wrap=True)
    border = "─" * (2 * rows)
    text.append(f"┌{border}┐\n")
    for line in grid:
        text.append("│")
        for sign, style in line:
            text.append(sign, style or None)
        text.append("│\n")
    text.append(f"└{border}┘\n")
    return text.append(_status(game, episode, frame))


def _blank(
    game: Mapping[str, Any], episode: Episode, frame: int, rows: int
) -> list[list[tuple[str, str]]]:
    solids = [("█", *wall) for wall in game["walls"]]
    solids += [
        (_LOCKS[lock], *centre, *half)
        for lock, centre, half in zip(
            episode.lock[frame], episode.boxes[frame], episode.box_half, strict=True
        )
        if half[0] > 0
    ]
    grid = []
    for row in range(rows):
        y = 1 - 2 * (row + 0.5) / rows
        line = []
        for column in range(2 * rows):
            x = (column + 0.5) / rows - 1
            # a wall may be thinner than a cell: it fills every cell that it touches
            found = [
                s
                for s, cx, cy, w, h in solids
                if abs(x - cx) <= w + 0.5 / rows and abs(y - cy) <= h + 0.5 / rows
            ]
            sign = found[0] if found else " "
            line.append((sign, _STYLES.get(sign, "#999999")))
        grid.append(line)
    return grid


def _cell(point: tuple[float, float], rows: int) -> tuple[int, int]:
    x, y = point
    row = min(rows - 1, max(0, int((1 - y) / 2 * rows)))
    return row, min(2 * rows - 1, max(0, int((x + 1) * rows)))


def _status(game: Mapping[str, Any], episode: Episode, frame: int) -> str:
    hidden = game["hiders"] - len({hider for _, hider in episode.sights[frame]})
    attack = "clean" if episode.attack == "none" else f"{episode.attack}, ε = {episode.epsilon:g}"
    phase = "preparation" if frame < game["preparation"] else "chase"
    if frame == episode.frames - 1:
        phase = "hiders win" if episode.success else "seekers win"
    return (
        f"{attack} | step {frame}/{episode.frames - 1} | {phase} | "
        f"{hidden} of {game['hiders']} hidden"
    )
