"""Frames of one episode, small and few enough for a page."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

MOST_FRAMES = 60
LONGEST_SIDE = 200


class Camera:
    """Keeps every k-th rendered frame, with k doubled whenever there are too many.

    Rendering may fail in any way, for instance on a machine without a display. It then stops and
    ``problem`` says why; the episode goes on.

    Attributes:
        every: k, in steps.
        problem: why there are no more frames; empty if there was no problem.
    """

    def __init__(self) -> None:
        self.every, self.problem = 1, ""
        self._frames: list[np.ndarray] = []
        self._seen = 0

    @property
    def frames(self) -> np.ndarray:
        """The kept frames, bytes ``[frames, height, width, 3]``."""
        return np.stack(self._frames) if self._frames else np.zeros((0, 1, 1, 3), np.uint8)

    def made(self, make: Callable[..., Any]) -> Any:
        """An environment that can be looked at; one that cannot if none can be made."""
        try:
            made = make(render_mode="rgb_array")
        except Exception as error:
            self.problem = f"{type(error).__name__}: {error}"
            return make()
        if getattr(made, "render_mode", None) != "rgb_array":
            self.problem = "the environment was made without a render_mode; let its factory take it"
        elif _without_display(made):
            self.problem = "MuJoCo finds no display; set MUJOCO_GL=egl or MUJOCO_GL=osmesa"
        return made

    def look(self, environment: Any) -> None:
        """Keep a frame of the environment's present state, if its turn has come."""
        turn, self._seen = self._seen % self.every == 0, self._seen + 1
        if not turn or self.problem:
            return
        try:
            self._frames.append(_shrunk(_image(environment.render())))
        except Exception as error:
            self.problem = f"{type(error).__name__}: {error}"
            self._frames.clear()
        if len(self._frames) > MOST_FRAMES:
            self._frames, self.every = self._frames[::2], 2 * self.every


def _without_display(environment: Any) -> bool:
    """Whether MuJoCo would look for a display that is not there, which can end the process."""
    mujoco = hasattr(getattr(environment, "unwrapped", environment), "mujoco_renderer")
    backend = os.environ.get("MUJOCO_GL", "glfw")
    display = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    return mujoco and backend == "glfw" and sys.platform == "linux" and not display


def _image(rendered: Any) -> np.ndarray:
    image = np.asarray(rendered)
    if image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f"render() gave {type(rendered).__name__}, not an image of three colours")
    return image


def _shrunk(image: np.ndarray) -> np.ndarray:
    """The image in blocks, each replaced by its mean, so that no side is too long."""
    block = -(-max(image.shape[:2]) // LONGEST_SIDE)
    height, width = (side // block * block for side in image.shape[:2])
    blocks = image[:height, :width].reshape(height // block, block, width // block, block, 3)
    return blocks.mean((1, 3)).astype(np.uint8)
