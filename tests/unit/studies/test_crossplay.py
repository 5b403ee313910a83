"""Leagues of trained teams and their matches."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from aajr.arena.environments.episodes import AttackedTeam, play, score
from aajr.arena.training.checkpoints import CheckpointError, save_checkpoint
from aajr.hide_and_seek.game.matches import Match
from aajr.hide_and_seek.training.trained_teams import trained_teams
from aajr.studies.crossplay import (
    CrossPlay,
    Pairing,
    Side,
    cross_play,
    crossplay_of,
    crossplay_plot,
    write_crossplay,
)
from tests.unit.arena.teams import GAME, save_team

BOTH = ("hider", "seeker")


@pytest.fixture
def runs(tmp_path):
    for seed in (0, 1, 2):
        save_team(tmp_path / f"aajr_{seed}/checkpoint.safetensors", seed, weight=0.01)
    for seed in (7, 8):
        save_team(tmp_path / f"league_{seed}/checkpoint.safetensors", seed, teams=BOTH)
    return tmp_path


def league(success, hiders, seekers) -> CrossPlay:
    pairings = tuple(tuple(Pairing(value, 0.0, {}) for value in row) for row in success)
    sides = [tuple(Side(*side) for side in team) for team in (hiders, seekers)]
    return CrossPlay(hiders=sides[0], seekers=sides[1], pairings=pairings, episodes=4, seed=0)


def test_a_league_is_read_from_directories_and_files(runs):
    save_checkpoint(runs / "attackers/attacker.safetensors", {"a": torch.zeros(1)}, {"run": {}})
    (runs / "foreign.safetensors").write_bytes(b"nothing of ours")
    teams = trained_teams([runs], "hider")
    assert [(t.name, t.method, t.seed) for t in teams] == [
        ("aajr_0", "aajr 0.01", 0),
        ("aajr_1", "aajr 0.01", 1),
        ("aajr_2", "aajr 0.01", 2),
        ("league_7", "self-play", 7),
        ("league_8", "self-play", 8),
    ]
    assert [t.name for t in trained_teams([runs], "seeker")] == ["league_7", "league_8"]
    again = trained_teams([runs / "aajr_1/checkpoint.safetensors", runs / "aajr_1", runs], "hider")
    assert [t.name for t in again] == ["aajr_1", "aajr_0", "aajr_2", "league_7", "league_8"]
    assert teams[0].game == GAME


def test_recipes_of_one_name_are_told_apart(runs):
    other = dataclasses.replace(GAME, required_hidden=1)
    save_team(runs / "other/checkpoint.safetensors", 0, weight=0.01, game=other)
    methods = {t.method for t in trained_teams([runs], "hider") if t.method.startswith("aajr")}
    assert len(methods) == 2
    assert all(method.startswith("aajr 0.01 (") for method in methods)


def test_all_meet_all_on_the_same_starts(runs):
    hiders, seekers = trained_teams([runs], "hider"), trained_teams([runs], "seeker")
    found = {(row, column): pairing for row, column, pairing in cross_play(hiders, seekers, 12, 3)}
    assert set(found) == {(row, column) for row in range(5) for column in range(2)}
    match = Match(GAME, [seekers[1].actor("seeker")], 12, 3)
    team = AttackedTeam(hiders[2].actor("hider"), None, torch.Generator())
    alone = score(match, team, "none", 0.0)
    assert (found[2, 1].success, found[2, 1].mean_return) == (alone.success, alone.mean_return)
    hidden = (1 - play(match, team).seen).mean(0).tolist()
    assert found[2, 1].roles["hidden_at_end"] == hidden
    result = crossplay_of(hiders, seekers, found, 12, 3)
    assert result.success()[2, 1] == alone.success
    assert result.foreign().tolist() == [[True] * 2] * 3 + [[False, True], [True, False]]


def test_means_leave_partners_out():
    hiders = [("a0", "a", 0), ("a1", "a", 1), ("a2", "a", 2), ("s", "self", 0)]
    seekers = [("s", "self", 0), ("t", "self", 1)]
    success = [[0.2, 0.4], [0.4, 0.6], [0.3, 0.9], [1.0, 0.1]]
    found = league(success, hiders, seekers)
    against = found.against_league()
    assert against["a"].estimate == pytest.approx(np.mean([0.3, 0.5, 0.6]))
    assert against["a"].low == pytest.approx(0.3)
    assert (against["self"].estimate, against["self"].low) == (0.1, None)
    theirs = found.seekers_against_league()["self"]
    assert theirs.estimate == pytest.approx(1 - np.mean([0.3, np.mean([0.4, 0.6, 0.9, 0.1])]))
    cells = found.cells()
    assert cells["a", "self"].estimate == pytest.approx(against["a"].estimate)
    only_partners = league([[0.5]], [("s", "self", 0)], [("s", "self", 0)])
    assert only_partners.against_league() == {}


def test_results_are_written_with_a_heat_map(tmp_path):
    sides = [("a", "aajr 0.01", 0), ("b", "plain", 1)]
    found = league([[0.25, 0.5], [0.75, 1.0]], sides, [("a", "self-play", 0), ("c", "plain", 2)])
    paths = write_crossplay(found, tmp_path)
    assert [path.name for path in paths] == ["crossplay.json", "crossplay.png", "crossplay.svg"]
    facts = json.loads(paths[0].read_text())
    assert facts["pairings"][1][0]["success"] == 0.75
    assert facts["against_league"]["plain"]["estimate"] == 0.875
    (axis, _) = crossplay_plot(found).figure.axes
    assert [text.get_text() for text in axis.texts] == ["25*", "50", "75", "100"]
    first = paths[2].read_bytes()
    write_crossplay(found, tmp_path)
    assert paths[2].read_bytes() == first


def test_bad_input_is_named(runs):
    hiders, seekers = trained_teams([runs], "hider"), trained_teams([runs], "seeker")
    with pytest.raises(ValueError, match="holds no checkpoint of seekers"):
        trained_teams([runs / "aajr_0"], "seeker")
    with pytest.raises(CheckpointError, match="holds no seeker actor"):
        trained_teams([runs / "aajr_0/checkpoint.safetensors"], "seeker")
    with pytest.raises(CheckpointError, match="does not exist"):
        trained_teams([runs / "nothing.safetensors"], "seeker")
    with pytest.raises(ValueError, match="no checkpoints of hiders"):
        trained_teams([], "hider")
    with pytest.raises(ValueError, match="hiders or seekers is empty"):
        next(cross_play([], seekers))
    other = dataclasses.replace(hiders[0], game=dataclasses.replace(GAME, max_steps=7))
    with pytest.raises(ValueError, match="different games"):
        next(cross_play([other], seekers))
    with pytest.raises(ValueError, match="pairings must be 1 rows of 2"):
        league([[0.5]], [("a", "a", 0)], [("b", "b", 0), ("c", "c", 0)])
