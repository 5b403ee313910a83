"""Recorded episodes: equal to the match that was played, exact as JSON."""

import dataclasses
import json
import math

import pytest
import torch
from PIL import Image

from aajr._seeds import derive
from aajr.arena.environments.episodes import AttackedTeam, play
from aajr.hide_and_seek.game import HideAndSeekConfig
from aajr.hide_and_seek.game.matches import Match
from aajr.hide_and_seek.game.threats import attackable_features
from aajr.hide_and_seek.replay import (
    frame_text,
    read_replay,
    record_episode,
    record_replay,
    replay_section,
    strongest_change,
    write_gif,
    write_replay,
)
from aajr.hide_and_seek.replay._gif import _perceived
from aajr.report.style import BLUE, ORANGE
from tests.unit.hide_and_seek.replay.parts import make_actor

GAME = HideAndSeekConfig(max_steps=10)
EPSILON = 0.2


@pytest.fixture(scope="module")
def match():
    return Match(GAME, [make_actor(GAME, "seeker", 1)], 3, 5)


@pytest.fixture(scope="module")
def actors():
    return {name: make_actor(GAME, "hider", seed) for seed, name in enumerate(("aajr", "global"))}


@pytest.fixture(scope="module")
def replay(match, actors):
    return record_replay(match, actors, "others", EPSILON, steps=2)


@pytest.mark.parametrize("attacked", [False, True])
@pytest.mark.parametrize("episode", [0, 2])
def test_it_is_the_match_that_is_played(match, actors, attacked, episode):
    actor = actors["aajr"]
    adversary = strongest_change(actor, GAME, "others", EPSILON, 2) if attacked else None
    kept = record_episode(match, actor, adversary, episode)
    generator = torch.Generator().manual_seed(derive(match.seed, "attack"))
    record = play(match, AttackedTeam(actor, adversary, generator))
    truth = torch.tensor(kept.observation[:-1])
    torch.testing.assert_close(truth, record.observation[episode], atol=5.1e-4, rtol=0)
    assert kept.action == record.action[episode].tolist()
    seen = {hider for _, hider in kept.sights[-1]}
    assert seen == set(record.seen[episode].nonzero().flatten().tolist())
    assert kept.success == (GAME.n_hiders - len(seen) >= GAME.hidden_for_success)


def test_what_is_shown_differs_within_the_threat(replay):
    mask = attackable_features(GAME, "hider", "others").bool()
    for episode in replay.episodes:
        if episode.attack == "none":
            assert episode.shown == []
            assert episode.action == episode.intended
            continue
        gap = (torch.tensor(episode.shown) - torch.tensor(episode.observation)).abs()
        assert len(gap) == GAME.max_steps + 1
        assert float(gap[..., ~mask].max()) == 0
        assert 0.9 * EPSILON < float(gap.max()) <= EPSILON + 2e-3
        assert episode.action != episode.intended
        assert episode.shown[-1] == episode.observation[-1]


def test_all_episodes_share_the_start(replay):
    assert [(e.method, e.attack) for e in replay.episodes] == [
        ("aajr", "none"),
        ("aajr", "pgd_mad"),
        ("global", "none"),
        ("global", "pgd_mad"),
    ]
    first = replay.episodes[0]
    for episode in replay.episodes:
        assert (episode.agents[0], episode.boxes[0]) == (first.agents[0], first.boxes[0])
        assert episode.box_half == first.box_half


def test_observed_teammates_are_where_they_are(replay):
    episode = replay.episodes[1]
    start, stop = replay.game["layout"]["teammates"]
    for agents, observed in zip(episode.agents, episode.observation, strict=True):
        told = torch.tensor(observed[1][start:stop]).reshape(-1, 2)
        place = torch.tensor(agents[1]) + told
        others = torch.tensor([agents[0], *agents[2 : GAME.n_hiders]])
        torch.testing.assert_close(place, others, atol=2e-3, rtol=0)


def test_a_cone_narrows_the_sights(match, actors):
    def pairs(game):
        kept = record_episode(dataclasses.replace(match, config=game), actors["aajr"], None)
        return {tuple(pair) for pair in kept.sights[0]}

    narrow = pairs(dataclasses.replace(GAME, view_cone=math.pi / 2))
    assert narrow < pairs(GAME)


def test_an_attack_on_actions_shows_nothing_else(match, actors):
    replay = record_replay(match, actors, "actions", 3.0, steps=2)
    attacked = replay.episodes[1]
    assert attacked.shown == []
    assert attacked.action != attacked.intended


def test_json_gives_it_back(replay, tmp_path):
    path = tmp_path / "deep" / "replay.json"
    write_replay(replay, path)
    assert read_replay(path) == replay
    assert path.stat().st_size < 200_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.update(replay_version=2), "replay_version=2"),
        (lambda v: v.update(episodes=[]), "episodes is empty"),
        (lambda v: v["episodes"][0].pop("agents"), "agents"),
        (lambda v: v["episodes"][0].update(more=1), "more"),
        (lambda v: v.pop("episodes"), "episodes"),
    ],
)
def test_a_broken_file_is_named(replay, tmp_path, change, message):
    value = json.loads(json.dumps(dataclasses.asdict(replay)))
    change(value)
    path = tmp_path / "replay.json"
    path.write_text(json.dumps(value))
    with pytest.raises(ValueError, match=rf"replay.json is not a replay .*{message}"):
        read_replay(path)


def test_an_episode_beyond_the_match_is_named(match, actors):
    with pytest.raises(ValueError, match="episode=3 is beyond"):
        record_episode(match, actors["aajr"], None, 3)


def test_the_data_cannot_end_the_script(replay):
    episode = dataclasses.replace(replay.episodes[0], method="</script><b>")
    html = replay_section(dataclasses.replace(replay, episodes=(episode,)))
    assert html.count("</script>") == 1
    assert "<b>" not in html


def test_the_terminal_shows_every_agent_in_its_place(replay):
    episode = replay.episodes[0]
    agents = [[-0.99, 0.99], [0.99, 0.99], [-0.99, -0.99], [0.99, -0.99], [0.0, 0.01]]
    agents += [[0.02 + 0.1 * i, 0.85] for i in range(5)]
    episode = dataclasses.replace(episode, agents=[agents], sights=[[[0, 1]]])
    text = frame_text(replay.game, episode, 0, rows=20)
    lines = text.plain.splitlines()
    assert (lines[1][1], lines[1][40], lines[20][1], lines[20][40]) == ("1", "2", "3", "4")
    assert all(letter in lines[2] for letter in "ABCDE")
    assert lines[-1].startswith("clean | step 0/0")
    assert "4 of 5 hidden" in lines[-1]
    assert [text.plain[s.start] for s in text.spans if "reverse" in str(s.style)] == ["2"]
    with pytest.raises(ValueError, match="frame=1"):
        frame_text(replay.game, episode, 1)


def test_a_gif_has_every_frame(replay, tmp_path):
    path = tmp_path / "new" / "episode.gif"
    write_gif(replay.game, replay.episodes[1], path, fps=20, pixels=200)
    with Image.open(path) as picture:
        assert picture.size == (200, 200)
        total = 0
        for frame in range(picture.n_frames):
            picture.seek(frame)
            total += picture.info["duration"]
    assert total == 50 * (GAME.max_steps + 1)
    with pytest.raises(ValueError, match="fps=51"):
        write_gif(replay.game, replay.episodes[1], path, fps=51)


def test_the_view_of_a_hider_leads_from_what_it_is_shown_to_the_truth(replay, tmp_path):
    game, episode = replay.game, replay.episodes[1]
    hiders, frame = game["hiders"], 2
    agents = episode.agents[frame]
    for hider in range(hiders):
        told = list(_perceived(game, episode, frame, hider))
        mates = [true for colour, _, true in told if colour == BLUE]
        others = [agent for k, agent in enumerate(agents[:hiders]) if k != hider]
        for true, other in zip(mates, others, strict=True):
            expected = [a - b for a, b in zip(other, agents[hider], strict=True)]
            assert true == pytest.approx(expected, abs=2e-3)
        seen = sum(true is not None for colour, _, true in told if colour == ORANGE)
        assert seen == sum(s[2] > 0.5 for s in opponents_of(game, episode, frame, hider))
        furthest = max(
            abs(a - b) for _, shown, true in told if true for a, b in zip(shown, true, strict=True)
        )
        assert 0 < furthest <= episode.epsilon + 2e-3
    with pytest.raises(ValueError, match="seen_by=9"):
        write_gif(game, episode, tmp_path / "episode.gif", seen_by=9)


def opponents_of(game, episode, frame, hider):
    start, stop = game["layout"]["opponents"]
    values = episode.observation[frame][hider][start:stop]
    return [values[k : k + 3] for k in range(0, len(values), 3)]
