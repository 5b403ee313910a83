"""The radio: who is told what, with which noise, and what stays as it was."""

import dataclasses
import json

import pytest
import torch

from aajr.arena.spaces.heads import greedy_heads
from aajr.hide_and_seek.game import (
    HideAndSeekConfig,
    Radio,
    make_torchrl_env,
    observation_layout,
    parallel_env,
)
from aajr.hide_and_seek.game.actions import BINS
from aajr.hide_and_seek.game.chasers import Chasers
from aajr.hide_and_seek.game.config import game_of
from aajr.hide_and_seek.game.items import observed_items, reporting_sources
from aajr.hide_and_seek.game.threats import attackable_features
from aajr.studies.comparison.presets import PRESETS, decisive

OLD = HideAndSeekConfig(n_hiders=3, n_seekers=2, max_steps=12, view_radius=0.5)
EXACT = Radio(sources=3, noise=(0.0,), liars=1, sight=0.3)


def with_radio(config: HideAndSeekConfig = OLD, **changes) -> HideAndSeekConfig:
    return dataclasses.replace(config, radio=dataclasses.replace(EXACT, **changes))


def played(config: HideAndSeekConfig, steps: int = 6, actions: int = 0, envs: int = 8):
    """Observations of both teams, positions and sights after every step."""
    env = make_torchrl_env(config, envs, seed=4)
    source = torch.Generator().manual_seed(actions)
    data, frames = env.reset(), []
    for _ in range(steps):
        for team, names in env.group_map.items():
            sizes = torch.tensor([11, 11, 2, 2])
            action = (torch.rand(envs, len(names), 4, generator=source) * sizes).long()
            data[team, "action"] = action
        data = env.step(data)["next"]
        hider, seeker = (data[team, "observation"] for team in ("hider", "seeker"))
        frames.append((hider, seeker, env.scenario.state.agents.clone()))
    return tuple(torch.stack(parts) for parts in zip(*frames, strict=True))


def reports(observation: torch.Tensor, config: HideAndSeekConfig) -> torch.Tensor:
    """``[..., sources, seekers reported, 2]``."""
    part = observation[..., observation_layout(config, "hider")["reports"]]
    return part.unflatten(-1, (config.radio.sources, -1, 2))


def test_a_game_with_a_radio_is_the_old_game_and_reports_besides():
    config = with_radio(sight=OLD.view_radius, tracked=False)
    old, new = played(OLD), played(config)
    assert torch.equal(new[0][..., : old[0].shape[-1]], old[0])
    assert torch.equal(new[1], old[1])
    assert torch.equal(new[2], old[2])
    assert new[0].shape[-1] == old[0].shape[-1] + 6


def test_without_a_radio_nothing_names_it():
    """Stored results are found by the digest of their settings."""
    assert "radio" not in OLD.facts
    assert OLD.facts == {k: v for k, v in dataclasses.asdict(OLD).items() if k != "radio"}
    assert "radio" not in json.dumps(decisive(PRESETS["others-full"]))
    assert "reports" not in observation_layout(OLD, "hider")
    assert "reports" not in observation_layout(with_radio(), "seeker")


def test_every_source_reports_the_nearest_seeker():
    config = with_radio()
    hider, _, agents = played(config)
    way = agents[:, :, None, 3:] - agents[:, :, :3, None]
    nearest = way.norm(dim=-1).argmin(-1)[..., None, None].expand(-1, -1, -1, 1, 2)
    expected = way.gather(3, nearest).unsqueeze(3).expand(-1, -1, -1, 3, 1, 2)
    torch.testing.assert_close(reports(hider, config), expected)


def test_or_every_seeker():
    config = with_radio(content="all")
    hider, _, agents = played(config)
    way = agents[:, :, None, 3:] - agents[:, :, :3, None]
    torch.testing.assert_close(
        reports(hider, config), way.unsqueeze(3).expand(-1, -1, -1, 3, -1, -1)
    )


def test_sources_have_noise_of_their_own_drawn_anew_at_every_step():
    noisy = with_radio(noise=(0.1, 0.2, 0.0), sight=0.0)
    error = reports(played(noisy, envs=400)[0], noisy) - reports(
        played(with_radio(sight=0.0), envs=400)[0], noisy
    )
    spread = error.transpose(3, 0).flatten(1).std(1)
    torch.testing.assert_close(spread, torch.tensor([0.1, 0.2, 0.0]), atol=0.004, rtol=0)
    flat = error[..., :2, 0, :].flatten(3)
    for one, other in ((flat[1:], flat[:-1]), (flat[:, :, 1:], flat[:, :, :-1])):
        mean = (one * other).mean() / flat.square().mean()
        assert abs(float(mean)) < 0.03
    assert abs(float((flat[..., 0] * flat[..., 1]).mean() / flat.square().mean())) < 0.03


def test_the_noise_is_the_same_whatever_anybody_does():
    noisy = with_radio(noise=(0.2,))
    clean = with_radio()
    first, second = (
        reports(played(noisy, actions=seed)[0], noisy)
        - reports(played(clean, actions=seed)[0], noisy)
        for seed in (0, 1)
    )
    torch.testing.assert_close(first, second, atol=1e-5, rtol=0)


def test_hiders_see_no_farther_than_their_sight():
    hider, _, agents = played(with_radio(), envs=64)
    old = played(OLD, envs=64)[0]
    part = observation_layout(OLD, "hider")["opponents"]
    visible = hider[..., part].unflatten(-1, (2, 3))[..., 2] == 1
    in_view = old[..., part].unflatten(-1, (2, 3))[..., 2] == 1
    distance = (agents[:, :, None, 3:] - agents[:, :, :3, None]).norm(dim=-1)
    assert torch.equal(visible, in_view & (distance <= 0.3))
    assert 0 < int(visible.sum()) < int(in_view.sum())


def test_seekers_are_told_where_hiders_are_and_see_as_before():
    _, seeker, agents = played(with_radio())
    old = played(OLD)[1]
    part = observation_layout(OLD, "seeker")["opponents"]
    told, before = (o[..., part].unflatten(-1, (3, 3)) for o in (seeker, old))
    way = agents[:, :, None, :3] - agents[:, :, 3:, None]
    torch.testing.assert_close(told[..., :2], way)
    assert torch.equal(told[..., 2], before[..., 2])
    assert not bool(before[..., 2].all())


@pytest.mark.parametrize("agents", [10, 20, 50])
def test_any_number_of_agents(agents):
    config = with_radio(dataclasses.replace(OLD, n_hiders=agents // 2, n_seekers=agents // 2))
    hider, seeker, _ = played(config, steps=2, envs=2)
    assert hider.isfinite().all()
    logits = Chasers(config)(seeker)
    assert logits.shape == (2, 2, agents // 2, 26)
    assert logits.isfinite().all()


def test_only_reports_are_attacked_and_each_belongs_to_one_source():
    config = with_radio()
    mask = attackable_features(config, "hider", "reports")
    sources = reporting_sources(config)
    assert torch.equal(mask, sources >= 0)
    assert sources[mask].tolist() == [0, 0, 1, 1, 2, 2]
    assert not bool(attackable_features(OLD, "hider", "reports").any())
    assert not bool(attackable_features(config, "seeker", "reports").any())
    assert len(observed_items(config, "hider")) == len(mask)


def test_a_game_with_a_radio_comes_back_from_json():
    config = with_radio(noise=(0.1, 0.2, 0.3))
    for game in (config, OLD):
        assert game_of(json.loads(json.dumps(game.facts))) == game


def test_through_pettingzoo():
    env = parallel_env(with_radio(), seed=1)
    observations, _ = env.reset()
    assert observations["hider_0"].shape == env.observation_space("hider_0").shape
    again, _ = env.reset(seed=1)
    assert (again["hider_0"] == observations["hider_0"]).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sources": 0}, "sources=0"),
        ({"liars": 3}, r"liars=3 leaves no honest one of sources=3"),
        ({"noise": (0.1, 0.2)}, r"noise=\(0.1, 0.2\) has 2 numbers for sources=3"),
        ({"noise": (-0.1,)}, "noise=-0.1"),
        ({"sight": -1.0}, "sight=-1.0"),
        ({"content": "none"}, "content='none'"),
    ],
)
def test_bad_radios_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(EXACT, **change)


def seekers_view(config: HideAndSeekConfig, hiders, mates) -> torch.Tensor:
    """A seeker's observation with hiders and fellow seekers at the given places."""
    layout = observation_layout(config, "seeker")
    view = torch.zeros(Chasers(config).features)
    told = torch.cat([torch.tensor(hiders), torch.zeros(len(hiders), 1)], -1)
    view[layout["opponents"]] = told.flatten()
    view[layout["teammates"]] = torch.tensor(mates).flatten()
    return view


def moved(view: torch.Tensor, config: HideAndSeekConfig) -> torch.Tensor:
    """Direction of the most likely move, in bins as VMAS orders them."""
    bins = greedy_heads(Chasers(config)(view), BINS)
    order = torch.tensor([5, 0, 1, 2, 3, 4, 6, 7, 8, 9, 10])
    assert bins[2:].tolist() == [0, 0], "it grabs and locks nothing"
    return torch.linspace(-1, 1, 11)[order[bins[:2]]]


def test_chasers_divide_the_hiders_among_themselves():
    config = with_radio()
    alone = seekers_view(config, [[0.5, 0.0], [0.0, -0.9], [-0.9, 0.9]], [[2.0, 2.0]])
    torch.testing.assert_close(moved(alone, config), torch.tensor([1.0, 0.0]))
    helped = seekers_view(config, [[0.5, 0.0], [0.0, -0.9], [-0.9, 0.9]], [[0.4, 0.1]])
    torch.testing.assert_close(moved(helped, config), torch.tensor([0.0, -1.0]))
    idle = seekers_view(config, [[0.5, 0.0], [0.6, 0.0], [0.7, 0.0]], [[0.4, 0.0]])
    torch.testing.assert_close(moved(idle, config), torch.tensor([1.0, 0.0]))


def test_chasers_reach_who_stands_still():
    config = with_radio(
        dataclasses.replace(OLD, n_seekers=3, max_steps=40, n_boxes=0, walls=(), seeker_speed=0.1)
    )
    env, chasers = make_torchrl_env(config, 16, seed=0), Chasers(config)
    data = env.reset()
    for _ in range(40):
        data["hider", "action"] = torch.zeros(16, 3, 4, dtype=torch.long)
        logits = chasers(data["seeker", "observation"])
        data["seeker", "action"] = greedy_heads(logits, chasers.heads)
        data = env.step(data)["next"]
    assert bool((data["seeker", "info", "seen"] == 1).all()), "each has found somebody"


def test_chasers_need_to_be_told():
    for config in (OLD, with_radio(tracked=False)):
        with pytest.raises(ValueError, match="hides the hiders from the seekers"):
            Chasers(config)
