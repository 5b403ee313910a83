"""An episode as an animated GIF."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aajr._checks import check_count
from aajr.hide_and_seek.replay._replay import Episode
from aajr.report.style import BLUE, ORANGE, PURPLE

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw


def write_gif(
    game: Mapping[str, Any],
    episode: Episode,
    path: Path,
    fps: int = 10,
    pixels: int = 480,
    seen_by: int | None = None,
) -> None:
    """Write the episode as a GIF that repeats forever.

    Args:
        game: facts of the game, see :class:`Replay`.
        episode: the recorded episode.
        path: the file to write.
        fps: steps per second, at most 50.
        pixels: width and height.
        seen_by: index of a hider, from 0, whose view is drawn too. An outline marks where the hider
            is shown another agent, and a line leads from there to the agent's true position. With a
            radio, dots mark the reported positions, lies have another colour, and a cross marks
            where the hider believes that the nearest seeker is.

    Raises:
        ValueError: ``fps``, ``pixels`` or ``seen_by`` is out of range.
    """
    check_count("fps", fps)
    check_count("pixels", pixels, minimum=32)
    if fps > 50:
        raise ValueError(f"fps={fps} is more than a GIF can show; give at most 50")
    if seen_by is not None and not 0 <= seen_by < game["hiders"]:
        raise ValueError(f"seen_by={seen_by} is no hider; give 0 to {game['hiders'] - 1}")
    frames = [_picture(game, episode, frame, pixels, seen_by) for frame in range(episode.frames)]
    path.parent.mkdir(parents=True, exist_ok=True)
    frames[0].save(
        path, save_all=True, append_images=frames[1:], duration=round(1000 / fps), loop=0
    )


def _picture(
    game: Mapping[str, Any], episode: Episode, frame: int, pixels: int, seen_by: int | None
) -> Image:
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (pixels, pixels), "white")
    pen = ImageDraw.Draw(picture)
    for wall in game["walls"]:
        pen.rectangle(_box(wall[:2], wall[2:], pixels), fill="#444444")
    locks = zip(episode.lock[frame], episode.boxes[frame], episode.box_half, strict=True)
    for lock, centre, half in locks:
        if half[0] > 0:
            edge = ("#777777", BLUE, ORANGE)[lock]
            area = _box(centre, half, pixels)
            pen.rectangle(area, fill="#d9d9d9", outline=edge, width=4 if lock else 1)
    agents = episode.agents[frame]
    for seeker, hider in episode.sights[frame]:
        ends = [_pixel(agents[game["hiders"] + seeker], pixels), _pixel(agents[hider], pixels)]
        pen.line(ends, fill=ORANGE, width=1)
    for agent, point in enumerate(agents):
        _draw_agent(pen, game, agent, point, pixels)
    if seen_by is not None:
        _draw_view(pen, game, episode, frame, seen_by, pixels)
    return picture


def _draw_view(
    pen: ImageDraw, game: Mapping[str, Any], episode: Episode, frame: int, hider: int, pixels: int
) -> None:
    here, size = episode.agents[frame][hider], max(4.0, 0.75 * game["size"] * pixels)
    for colour, shown, true in _perceived(game, episode, frame, hider):
        x, y = _pixel([here[0] + shown[0], here[1] + shown[1]], pixels)
        if true is not None:
            pen.line([(x, y), _pixel([here[0] + true[0], here[1] + true[1]], pixels)], fill=colour)
        pen.ellipse([x - size, y - size, x + size, y + size], outline=colour, width=2)
    for colour, shown in _heard(game, episode, frame, hider):
        x, y = _pixel([here[0] + shown[0], here[1] + shown[1]], pixels)
        pen.ellipse([x - 3, y - 3, x + 3, y + 3], fill=colour)
    if episode.believed is not None and frame < len(episode.believed):
        away = episode.believed[frame][hider]
        x, y = _pixel([here[0] + away[0], here[1] + away[1]], pixels)
        pen.line([(x - 5, y - 5), (x + 5, y + 5)], fill="black", width=2)
        pen.line([(x - 5, y + 5), (x + 5, y - 5)], fill="black", width=2)
    x, y = _pixel(here, pixels)
    pen.ellipse([x - 2 * size, y - 2 * size, x + 2 * size, y + 2 * size], outline="black", width=2)


def _perceived(
    game: Mapping[str, Any], episode: Episode, frame: int, hider: int
) -> Iterator[tuple[str, list[float], list[float] | None]]:
    """Colour, shown offset and true offset of every agent in a hider's observation.

    The true offset is None for an agent that the hider does not really see.
    """
    truth = episode.observation[frame][hider]
    shown = episode.shown[frame][hider] if episode.shown else truth
    for team, width, colour in (("teammates", 2, BLUE), ("opponents", 3, ORANGE)):
        start, stop = game["layout"][team]
        for at in range(start, stop, width):
            real, told = (width == 2 or values[at + 2] > 0.5 for values in (truth, shown))
            if real or told:
                yield colour, shown[at : at + 2], truth[at : at + 2] if real else None


def _heard(
    game: Mapping[str, Any], episode: Episode, frame: int, hider: int
) -> Iterator[tuple[str, list[float]]]:
    """Colour and offset of every report that a hider gets; lies have a different colour."""
    truth = episode.observation[frame][hider]
    shown = episode.shown[frame][hider] if episode.shown else truth
    start, stop = game["layout"].get("reports", (0, 0))
    for at in range(start, stop, 2):
        lie = shown[at : at + 2] != truth[at : at + 2]
        yield PURPLE if lie else "#f0c8a0", shown[at : at + 2]


def _draw_agent(
    pen: ImageDraw, game: Mapping[str, Any], agent: int, point: list[float], pixels: int
) -> None:
    x, y = _pixel(point, pixels)
    size = max(3.0, 1.2 * game["size"] * pixels / 2)
    if agent < game["hiders"]:
        pen.ellipse([x - size, y - size, x + size, y + size], fill=BLUE, outline="white")
    else:
        reach = 1.3 * size
        corners = [(x, y - reach), (x + reach, y), (x, y + reach), (x - reach, y)]
        pen.polygon(corners, fill=ORANGE, outline="white")
    number = agent if agent < game["hiders"] else agent - game["hiders"]
    pen.text((x, y), str(number + 1), fill="white", anchor="mm")


def _pixel(point: list[float], pixels: int) -> tuple[float, float]:
    return (point[0] + 1) / 2 * (pixels - 1), (1 - point[1]) / 2 * (pixels - 1)


def _box(centre: list[float], half: list[float], pixels: int) -> list[float]:
    left, top = _pixel([centre[0] - half[0], centre[1] + half[1]], pixels)
    right, bottom = _pixel([centre[0] + half[0], centre[1] - half[1]], pixels)
    return [left, top, right, bottom]
