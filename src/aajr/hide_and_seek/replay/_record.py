"""Play an episode and record every frame of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from aajr._checks import check_count
from aajr._seeds import derive
from aajr.adversaries import Adversary, Divergence, ProjectedGradientAscent
from aajr.arena.agents.actors import Actor
from aajr.arena.environments.episodes import AttackedTeam
from aajr.arena.spaces.heads import greedy_heads
from aajr.arena.threats import Threat
from aajr.hide_and_seek.game import HideAndSeek, HideAndSeekConfig
from aajr.hide_and_seek.game.matches import Match, RunningMatch
from aajr.hide_and_seek.game.observation import observation_layout
from aajr.hide_and_seek.game.threats import threat_ball, under_threat
from aajr.hide_and_seek.replay._belief import believed_place
from aajr.hide_and_seek.replay._replay import Episode, Replay

Frames = dict[str, list[Any]]


class _Witness:
    """Pass every call on to an adversary and keep its latest perturbed observations."""

    def __init__(self, adversary: Adversary) -> None:
        self._adversary = adversary
        self.shown = torch.empty(0)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        trajectory = self._adversary(*args, **kwargs)
        self.shown = trajectory.worst.detach()
        return trajectory

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adversary, name)


def strongest_change(
    actor: Actor,
    config: HideAndSeekConfig,
    threat: Threat,
    epsilon: float,
    steps: int = 10,
) -> Adversary:
    """Build the attack shown in replays: gradient ascent on the hiders' action divergence.

    Under the threat ``reports`` the gradient decides which sources lie: those whose lies change the
    actions most.

    Args:
        actor: the victim; its action heads define the divergence.
        config: the game.
        threat: what the adversary may change.
        epsilon: L∞ radius.
        steps: number of steps of the ascent.
    """
    ball, objective = threat_ball(config, threat, epsilon), Divergence(actor.metric)
    search = ProjectedGradientAscent(ball, objective, steps=steps, select="best")
    return under_threat(search, config, threat, "gradient")


@torch.no_grad()
def record_episode(
    match: Match,
    actor: Actor,
    adversary: Adversary | None,
    episode: int = 0,
    *,
    method: str = "hiders",
    attack: str = "none",
    on_logits: bool = False,
) -> Episode:
    """Play the whole match and record one of its episodes.

    Initial states and the seekers' random numbers are those of
    :func:`aajr.arena.environments.episodes.play`.

    Args:
        match: the match to play.
        actor: policy of the hiders.
        adversary: adversary that attacks the hiders, or None.
        episode: index of the episode to record.
        method: name of the hiders' method.
        attack: name of the attack.
        on_logits: whether the adversary shifts the action's logits instead of the observation.

    Raises:
        ValueError: the match has no such episode.
    """
    check_count("episode", episode, minimum=0)
    if episode >= match.episodes:
        raise ValueError(f"episode={episode} is beyond the match's {match.episodes} episodes")
    witness = None if adversary is None else _Witness(adversary)
    generator = torch.Generator().manual_seed(derive(match.seed, "attack"))
    team: Any = AttackedTeam(actor, witness, generator, on_logits)  # type: ignore[arg-type]
    frames, played = _play(match, actor, team, None if on_logits else witness, episode)
    return Episode(
        method=method,
        attack=attack,
        epsilon=0.0 if adversary is None else float(adversary.ball.epsilon),
        success=bool(played.record().won[episode]),
        box_half=_rounded(played.game.state.box_half[episode]),
        **frames,
    )


def record_replay(
    match: Match,
    actors: Mapping[str, Actor],
    threat: Threat,
    epsilon: float,
    steps: int = 10,
) -> Replay:
    """Record the match's first episode for each method, once clean and once attacked.

    Args:
        match: the match to play.
        actors: policies of the hiders, by the name of their method.
        threat: what the adversary may change.
        epsilon: L∞ radius of the attack.
        steps: number of steps of the attack.
    """
    episodes = []
    for method, actor in actors.items():
        change = strongest_change(actor, match.config, threat, epsilon, steps)
        episodes.append(record_episode(match, actor, None, method=method))
        logits = threat == "actions"
        attacked = record_episode(
            match, actor, change, method=method, attack="pgd_mad", on_logits=logits
        )
        episodes.append(attacked)
    return Replay(
        game=game_facts(match.config), threat=threat, seed=match.seed, episodes=tuple(episodes)
    )


def game_facts(config: HideAndSeekConfig) -> dict[str, Any]:
    """The facts that all episodes of a game share; see :class:`Replay`."""
    layout = observation_layout(config, "hider")
    return {
        "walls": [list(wall) for wall in config.walls],
        "hiders": config.n_hiders,
        "seekers": config.n_seekers,
        "radius": config.view_radius,
        "size": config.agent_radius,
        "preparation": config.preparation_steps,
        "needed": config.hidden_for_success,
        "layout": {name: [part.start, part.stop] for name, part in layout.items()},
    } | ({} if config.radio is None else {"sources": config.radio.sources})


def _play(
    match: Match, actor: Actor, team: Any, witness: _Witness | None, episode: int
) -> tuple[Frames, RunningMatch]:
    played = match.reset()
    names = ("agents", "heading", "boxes", "holder", "lock", "sights", "observation", "shown")
    frames: Frames = {name: [] for name in (*names, "action", "intended")}
    config = match.config
    believing = config.radio is not None and config.radio.content == "nearest"
    frames |= {"believed": []} if believing else {}
    while len(played.running):
        mine = played.observation
        action = team(mine)
        _keep_frame(frames, played.game, episode)
        if witness is not None:
            frames["shown"].append(_rounded(witness.shown.reshape_as(mine)[episode]))
        frames["action"].append(action[episode].tolist())
        intended = greedy_heads(actor(mine[episode]), actor.heads)
        frames["intended"].append(intended.tolist())
        if believing:
            shown = mine if witness is None else witness.shown.reshape_as(mine)
            frames["believed"].append(_rounded(believed_place(actor, shown[episode], config)))
        played.step(action)
    _keep_frame(frames, played.game, episode)
    if witness is not None:
        frames["shown"].append(frames["observation"][-1])
    return frames, played


def _keep_frame(frames: Frames, scenario: HideAndSeek, episode: int) -> None:
    state = scenario.state
    for name in ("agents", "heading", "boxes"):
        frames[name].append(_rounded(getattr(state, name)[episode]))
    for name in ("holder", "lock"):
        frames[name].append(getattr(state, name)[episode].tolist())
    frames["sights"].append(scenario.sights[episode].nonzero().tolist())
    frames["observation"].append(_rounded(scenario.views("hider")["observation"][episode]))


def _rounded(values: Tensor) -> list[Any]:
    rows: list[Any] = values.detach().to(torch.float64).mul(1000).round().div(1000).tolist()
    return rows
