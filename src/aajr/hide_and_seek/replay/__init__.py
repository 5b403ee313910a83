"""Record episodes, and replay them on a web page, in the terminal or as a GIF."""

from aajr.hide_and_seek.replay._gif import write_gif
from aajr.hide_and_seek.replay._record import (
    game_facts,
    record_episode,
    record_replay,
    strongest_change,
)
from aajr.hide_and_seek.replay._replay import Episode, Replay, read_replay, write_replay
from aajr.hide_and_seek.replay._section import replay_section
from aajr.hide_and_seek.replay._terminal import frame_text

__all__ = [
    "Episode",
    "Replay",
    "frame_text",
    "game_facts",
    "read_replay",
    "record_episode",
    "record_replay",
    "replay_section",
    "strongest_change",
    "write_gif",
    "write_replay",
]
