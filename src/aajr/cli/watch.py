"""``aajr watch``: play and show one episode."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from aajr.arena.threats import Threat

if TYPE_CHECKING:
    from rich.console import Console

    from aajr.adversaries import Adversary
    from aajr.arena.agents.actors import Actor
    from aajr.hide_and_seek.game import HideAndSeekConfig
    from aajr.hide_and_seek.replay import Episode

AttackName = Literal["none", "noise", "pgd_mad"]


def watch(
    checkpoint: Annotated[Path, tyro.conf.Positional],
    opponents: tuple[Path, ...] = (),
    attack: AttackName = "none",
    epsilon: float = 0.2,
    threat: Threat = "others",
    seed: int = 0,
    gif: Path | None = None,
    seen_by: int | None = None,
    fps: int = 10,
) -> None:
    """Play one episode in the terminal, or write it as a GIF.

    Hiders are blue numbers, in reverse video while a seeker sees them. Seekers are orange letters.

    For example:

    $ aajr watch runs/league/checkpoint.safetensors

    $ aajr watch runs/aajr/checkpoint.safetensors --opponents runs/league/checkpoint.safetensors
    --attack pgd_mad --epsilon 0.2 --gif episode.gif

    Args:
        checkpoint: checkpoint of the hiders.
        opponents: checkpoints of the seekers, of which the first one plays. By default the seekers
            of the first checkpoint play, or scripted seekers in a game with a radio.
        attack: attack on the hiders.
        epsilon: L∞ radius of the attack, in observation units (in logits for the threat actions).
        threat: features that the attack may change.
        seed: seed of the initial state.
        gif: file to write instead of playing in the terminal.
        seen_by: number of the hider, from 1, whose view the GIF shows. Outlines mark where it
            perceives other agents, with lines to their true positions.
        fps: steps per second.
    """
    from rich.console import Console

    from aajr.arena.training.checkpoints import load_checkpoint
    from aajr.hide_and_seek.game.chasers import Chasers
    from aajr.hide_and_seek.game.config import game_of
    from aajr.hide_and_seek.game.matches import Match
    from aajr.hide_and_seek.replay import game_facts, record_episode, write_gif
    from aajr.hide_and_seek.training.trainer import load_actor

    if not 1 <= fps <= 50:
        raise ValueError(f"fps={fps} is not allowed; give 1 to 50")
    actor = load_actor(checkpoint, "hider")
    _, meta = load_checkpoint(checkpoint)
    game = game_of(meta["config"]["env"])
    if game.radio is not None and not opponents:
        seeker: Actor = Chasers(game)
    else:
        seeker = load_actor(opponents[0] if opponents else checkpoint, "seeker")
    episode = record_episode(
        Match(game, [seeker], 1, seed),
        actor,
        _adversary(attack, actor, game, threat, epsilon),
        attack=attack,
        on_logits=threat == "actions",
    )
    facts, console = game_facts(game), Console()
    if gif is not None:
        write_gif(facts, episode, gif, fps, seen_by=None if seen_by is None else seen_by - 1)
        console.print(f"GIF: {gif}", soft_wrap=True)
        return
    _play(console, facts, episode, fps)


def _play(console: Console, facts: dict[str, Any], episode: Episode, fps: int) -> None:
    """Play the episode in the terminal."""
    from rich.live import Live

    from aajr.hide_and_seek.replay import frame_text

    rows = max(8, min(32, console.height - 4, (console.width - 2) // 2))
    with Live(console=console, auto_refresh=False) as live:
        for frame in range(episode.frames):
            live.update(frame_text(facts, episode, frame, rows), refresh=True)
            # a pipe or a file gets the last frame only, without delay
            if console.is_terminal:
                time.sleep(1 / fps)


def _adversary(
    name: AttackName, actor: Actor, game: HideAndSeekConfig, threat: Threat, epsilon: float
) -> Adversary | None:
    from aajr.adversaries import UniformNoise
    from aajr.hide_and_seek.game.threats import threat_ball, under_threat
    from aajr.hide_and_seek.replay import strongest_change

    if name == "none":
        return None
    if name == "pgd_mad":
        return strongest_change(actor, game, threat, epsilon)
    return under_threat(UniformNoise(threat_ball(game, threat, epsilon)), game, threat)
