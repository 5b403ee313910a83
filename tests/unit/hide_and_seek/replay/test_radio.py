"""The radio in the replay: reports, lies, and what the hiders make of them."""

import dataclasses
import json

import pytest
import torch
from PIL import Image

from aajr.hide_and_seek.game import RADIO_GAME, HideAndSeekConfig, observation_layout
from aajr.hide_and_seek.game.actors import team_actor
from aajr.hide_and_seek.game.chasers import Chasers
from aajr.hide_and_seek.game.matches import Match
from aajr.hide_and_seek.replay import record_replay, replay_section, write_gif
from aajr.hide_and_seek.replay._belief import believed_place
from aajr.hide_and_seek.replay._replay import replay_json
from tests.unit.hide_and_seek.replay.parts import make_actor

GAME = dataclasses.replace(RADIO_GAME, max_steps=5)
PART = observation_layout(GAME, "hider")["reports"]


@pytest.fixture(scope="module")
def replay():
    match = Match(GAME, [Chasers(GAME)], episodes=2, seed=3)
    return record_replay(match, {"plain": make_actor(GAME, "hider", 1)}, "reports", 1.0, steps=2)


def listener() -> torch.nn.Module:
    """An actor whose first logits are the mean of the reports, and nothing else."""
    actor = team_actor(PART.stop, hidden=())
    layer = actor.network[0]
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, PART.start : PART.stop : 2] = 0.2
        layer.weight[11, PART.start + 1 : PART.stop : 2] = 0.2
    return actor


def test_who_follows_the_mean_believes_the_mean():
    x = torch.zeros(20, PART.stop)
    g = torch.Generator().manual_seed(0)
    x[:, :2] = torch.rand(20, 2, generator=g) - 0.5
    middle = 0.8 * torch.rand(20, 1, 2, generator=g) - 0.4
    spread = 0.1 * torch.randn(20, 5, 2, generator=g)
    x[:, PART] = (middle + spread - spread.mean(1, keepdim=True)).flatten(1)
    found = believed_place(listener(), x, GAME)
    cell = 2 / 24
    assert float((found - middle[:, 0]).abs().max()) <= cell / 2 + 1e-3


def test_a_lie_moves_the_belief_of_who_follows_the_mean():
    x = torch.zeros(1, PART.stop)
    x[:, PART] = 0.25
    lied = x.clone()
    lied[:, PART.start : PART.start + 4] -= 1.0
    honest, fooled = (believed_place(listener(), view, GAME)[0] for view in (x, lied))
    torch.testing.assert_close(fooled - honest, torch.tensor([-0.4, -0.4]), atol=0.09, rtol=0)


def test_beliefs_need_one_reported_place():
    radio = dataclasses.replace(RADIO_GAME.radio, content="all")
    for game in (HideAndSeekConfig(), dataclasses.replace(RADIO_GAME, radio=radio)):
        with pytest.raises(ValueError, match="does not report one place"):
            believed_place(listener(), torch.zeros(1, PART.stop), game)


def test_every_frame_keeps_the_reports_and_two_of_five_lie(replay):
    clean, attacked = replay.episodes
    assert clean.shown == []
    truth = torch.tensor(attacked.observation)[:-1, :, PART].unflatten(-1, (5, 2))
    shown = torch.tensor(attacked.shown)[:-1, :, PART].unflatten(-1, (5, 2))
    assert bool(((truth != shown).any(-1).sum(-1) == 2).all())
    for episode in replay.episodes:
        assert torch.tensor(episode.believed).shape == (5, 5, 2)
    assert replay.game["sources"] == 5
    assert replay.game["layout"]["reports"] == [PART.start, PART.stop]


def test_the_page_has_a_key_for_reports_and_other_games_say_nothing_of_them(replay):
    page = str(replay_section(replay))
    assert "a report of where the nearest seeker is" in page
    old = HideAndSeekConfig(n_hiders=2, n_seekers=1, max_steps=2)
    match = Match(old, [make_actor(old, "seeker", 2)], episodes=1, seed=3)
    other = record_replay(match, {"plain": make_actor(old, "hider", 1)}, "others", 0.1, steps=1)
    assert "believed" not in json.loads(replay_json(other))["episodes"][0]
    assert "report of where" not in str(replay_section(other))


def test_a_gif_shows_lies_and_the_belief(replay, tmp_path):
    for episode in replay.episodes:
        write_gif(replay.game, episode, tmp_path / "episode.gif", seen_by=0)
        with Image.open(tmp_path / "episode.gif") as picture:
            colours = picture.convert("RGB").getcolors(480 * 480)
        near = [
            count
            for count, (red, green, blue) in colours
            if abs(red - 204) + abs(green - 121) + abs(blue - 167) < 30
        ]
        assert (sum(near) > 10) == (episode.attack != "none")
