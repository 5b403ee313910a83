"""An episode as an animated GIF."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aajr._checks import check_count
from aajr.hide_and_seek.replay._replay import Episode
from aajr.report.style import BLUE, ORANGE

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw


def write_gif(
    game: Mapping[str, Any], episode: Episode, path: Path, fps: int = 10, pixels: int = 480
) -> None:
    """Write the episode as a GIF that repeats for ever.

    Args:
        game: facts of the game, see :class:`Replay`.
        episode: what was recorded.
        path: the file.
        fps: steps per second, at most 50.
        pixels: width and height.

    Raises:
        ValueError: an ``fps`` or ``pixels`` out of range.
    """
    check_count("fps", fps)
    check_count("pixels", pixels, minimum=32)
    if fps > 50:
        raise ValueError(f"fps={fps} is more than a GIF can show; give at most 50")
    frames = [_picture(game, episode, frame, pixels) for frame in range(episode.frames)]
    path.parent.mkdir(parents=True, exist_ok=True)
    frames[0].save(
        path, save_all=True, append_images=frames[1:], duration=round(1000 / fps), loop=0
    )


def _picture(game: Mapping[str, Any], episode: Episode, frame: int, pixels: int) -> Image:
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
    return picture


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
