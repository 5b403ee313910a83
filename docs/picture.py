"""The moving picture of the README, from the committed replay: python docs/picture.py."""

from pathlib import Path

from aajr.hide_and_seek.replay import read_replay, write_gif

ROOT = Path(__file__).parent.parent


def main() -> None:
    replay = read_replay(ROOT / "results/others/replay.json")
    (episode,) = (e for e in replay.episodes if (e.method, e.attack) == ("aajr", "pgd_mad"))
    write_gif(replay.game, episode, ROOT / "docs/_static/game.gif", fps=8, pixels=360, seen_by=0)


if __name__ == "__main__":
    main()
