"""The scenario through its three hosts, its observations and rewards."""

import dataclasses
import json
import warnings
from pathlib import Path

import pytest
import torch
import vmas
from pettingzoo.test import parallel_api_test
from vmas.simulator.core import Landmark

from aajr.hide_and_seek.game import (
    HideAndSeek,
    HideAndSeekConfig,
    hidden_share,
    hiders_success,
    make_torchrl_env,
    observation_layout,
    parallel_env,
)

CONFIG = HideAndSeekConfig()
GOLDEN = Path(__file__).with_name("golden_trajectory.json")


def vmas_env(config=CONFIG, envs=4, seed=0, **kwargs):
    options = {
        "continuous_actions": not config.discrete,
        "multidiscrete_actions": config.discrete,
        "max_steps": config.max_steps,
        **kwargs,
    }
    return vmas.make_env(HideAndSeek(config), num_envs=envs, seed=seed, **options)


def scripted(step: int, agents: int, envs: int):
    action = torch.tensor([(3 * step) % 11, (5 * step + 2) % 11, step % 2, int(step % 7 == 0)])
    return [
        (action + torch.tensor([i, 2 * i, 0, 0])) % torch.tensor([11, 11, 2, 2])
        for i in range(agents)
    ]


def play(env, steps: int, envs: int = 4):
    frames = [torch.stack(env.reset(seed=5), 1)]
    rewards = []
    for step in range(steps):
        actions = [a.expand(envs, -1).clone() for a in scripted(step, len(env.agents), envs)]
        views, gains, _, _ = env.step(actions)
        frames.append(torch.stack(views, 1))
        rewards.append(torch.stack(gains, 1))
    return torch.stack(frames), torch.stack(rewards)


def test_golden_trajectory():
    frames, rewards = play(vmas_env(), 40)
    found = {
        "observation": [[round(v, 4) for v in frames[t, 0, 0].tolist()] for t in (0, 20, 40)],
        "rewards": [round(v, 4) for v in rewards.sum(0).flatten().tolist()],
    }
    golden = json.loads(GOLDEN.read_text())
    assert found.keys() == golden.keys()
    for name in golden:
        torch.testing.assert_close(
            torch.tensor(found[name]), torch.tensor(golden[name]), atol=2e-3, rtol=0
        )


def test_seeded_and_free_of_the_global_seed():
    torch.manual_seed(0)
    first = play(vmas_env(), 10)
    torch.manual_seed(1)
    second = play(vmas_env(), 10)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert len({float(x) for x in first[0][0, :, 0, 0]}) == 4, "the games differ from each other"


def test_torchrl_shapes():
    env = make_torchrl_env(CONFIG, num_envs=3, seed=0)
    data = env.rollout(4)
    assert data["hider", "observation"].shape == (3, 4, 5, 60)
    assert data["seeker", "action"].shape == (3, 4, 5, 4)
    assert data["next", "hider", "info", "seen"].shape == (3, 4, 5, 1)
    assert env.group_map == {
        team: [f"{team}_{i}" for i in range(5)] for team in ("hider", "seeker")
    }


def test_gymnasium_wrapper():
    env = vmas_env(envs=1, wrapper="gymnasium", terminated_truncated=True)
    observation, _ = env.reset(seed=0)
    assert len(observation) == 10
    observation, _, terminated, truncated, _ = env.step(
        [space.sample() for space in env.action_space]
    )
    assert observation[0].shape == (60,)
    assert not terminated
    assert not truncated


def test_pettingzoo_parallel_api():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        parallel_api_test(parallel_env(), num_cycles=80)


def test_pettingzoo_reset_seed():
    first, _ = parallel_env().reset(seed=3)
    second, _ = parallel_env(seed=9).reset(seed=3)
    assert all((first[name] == second[name]).all() for name in first)


def test_layout_covers_the_observation_once():
    for team in ("hider", "seeker"):
        layout = observation_layout(CONFIG, team)
        covered = [i for part in layout.values() for i in range(part.start, part.stop)]
        assert covered == list(range(60))
    hider = observation_layout(CONFIG, "hider")
    assert hider["teammates"] == slice(37, 45)
    assert hider["opponents"] == slice(45, 60)


def test_unseen_opponents_are_zero_and_seen_ones_true():
    env = vmas_env(envs=64)
    views = torch.stack(env.reset(seed=1), 1)
    state = env.scenario.state
    layout = observation_layout(CONFIG, "hider")
    told = views[:, :5, layout["opponents"]].reshape(64, 5, 5, 3)
    visible = told[..., 2]
    true = state.agents[:, None, 5:] - state.agents[:, :5, None]
    assert 0.05 < visible.mean() < 0.95
    assert torch.allclose(told[..., :2], true * visible.unsqueeze(-1))
    assert true.norm(dim=-1)[visible == 1].max() <= CONFIG.view_radius


def test_a_cone_hides_what_lies_behind():
    config = dataclasses.replace(CONFIG, view_cone=1.0)
    env = vmas_env(config, envs=64)
    views = torch.stack(env.reset(seed=1), 1)
    state = env.scenario.state
    told = views[:, :5, observation_layout(config, "hider")["opponents"]].reshape(64, 5, 5, 3)
    true = state.agents[:, None, 5:] - state.agents[:, :5, None]
    off = torch.atan2(true[..., 1], true[..., 0]).abs()
    visible = told[..., 2] == 1
    assert visible.any()
    assert off[visible].max() <= 0.5 + 1e-4, "everybody looks along +x at first"


def test_the_nearest_are_perceived():
    config = dataclasses.replace(CONFIG, observe_nearest=2)
    env = vmas_env(config, envs=32)
    views = torch.stack(env.reset(seed=1), 1)
    agents = env.scenario.state.agents[:, :5]
    told = views[:, :5, observation_layout(config, "hider")["teammates"]].reshape(32, 5, 2, 2)
    gaps = torch.cdist(agents, agents).sort(-1).values[..., 1:3]
    assert torch.allclose(told.norm(dim=-1).sort(-1).values, gaps, atol=1e-5)


def test_of_many_opponents_the_nearest_visible_are_perceived():
    config = dataclasses.replace(CONFIG, observe_nearest=2)
    env = vmas_env(config, envs=64)
    views = torch.stack(env.reset(seed=1), 1)
    everyone = torch.stack(vmas_env(envs=64).reset(seed=1), 1)
    for team, rows in (("hider", slice(0, 5)), ("seeker", slice(5, 10))):
        few = views[:, rows, observation_layout(config, team)["opponents"]].reshape(-1, 2, 3)
        all_five = everyone[:, rows, observation_layout(CONFIG, team)["opponents"]]
        all_five = all_five.reshape(-1, 5, 3)
        for told, known in zip(few, all_five, strict=True):
            seen = known[known[:, 2] == 1]
            nearest = seen[seen[:, :2].norm(dim=-1).argsort()][:2, :2].norm(dim=-1)
            found = told[told[:, 2] == 1][:, :2].norm(dim=-1).sort().values
            assert torch.equal(found, nearest.sort().values)


def test_a_box_is_drawn_in_its_size(monkeypatch):
    env = vmas_env(envs=3)
    env.reset(seed=0)
    drawn = []
    monkeypatch.setattr(Landmark, "render", lambda box, env_index: [drawn.append(box.shape)])
    for game in range(3):
        env.world.landmarks[len(CONFIG.walls)].render(game)
    half = env.scenario.state.box_half[:, 0]
    found = torch.tensor([[shape.length, shape.width] for shape in drawn])
    assert torch.allclose(found, 2 * half)


def test_rewards_by_hand():
    config = dataclasses.replace(CONFIG, preparation_fraction=0.0, team_share=0.3)
    env = vmas_env(config, envs=32)
    env.reset(seed=2)
    _, gains, _, infos = env.step([torch.zeros(32, 4) for _ in range(10)])
    seen = torch.stack([info["seen"] for info in infos], 1)
    hider, seeker = 1 - 2 * seen[:, :5], 2 * seen[:, 5:] - 1
    mean = hider.mean(1, keepdim=True)
    expected = torch.cat([0.7 * hider + 0.3 * mean, 0.7 * seeker - 0.3 * mean], 1) / 10
    assert torch.allclose(torch.stack(gains, 1), expected)


def test_no_reward_in_the_preparation():
    _, rewards = play(vmas_env(), 30)
    assert rewards[: CONFIG.preparation_steps].abs().sum() == 0
    assert rewards[CONFIG.preparation_steps :].abs().min() >= 0
    assert rewards[CONFIG.preparation_steps :].abs().sum() > 0


def test_hidden_share_counts_the_play_alone():
    config = HideAndSeekConfig(n_hiders=2, max_steps=4, preparation_fraction=0.5)
    seen = torch.tensor([[1.0, 1], [1, 1], [0, 1], [0, 0]])
    assert float(hidden_share(seen, config)) == 0.75
    with pytest.raises(ValueError, match="seen has shape"):
        hidden_share(seen[1:], config)
    with pytest.raises(ValueError, match="preparation_fraction=1"):
        hidden_share(seen, dataclasses.replace(config, preparation_fraction=1.0))


def test_success_needs_enough_hidden():
    assert CONFIG.hidden_for_success == 2
    seen = torch.tensor([[1.0, 1, 1, 1, 0], [1, 1, 1, 0, 0]])
    assert hiders_success(seen, CONFIG.hidden_for_success).tolist() == [False, True]


@pytest.mark.parametrize(
    ("change", "features"),
    [
        ({"lidar_rays": 8}, 68),
        ({"n_boxes": 0}, 30),
        ({"view_cone": 2.0}, 60),
        ({"n_hiders": 50, "n_seekers": 50, "observe_nearest": 4}, 7 + 20 + 8 + 12),
        ({"n_hiders": 1, "n_seekers": 1}, 40),
        ({"walls": ()}, 60),
    ],
)
def test_variants_play(change, features):
    config = dataclasses.replace(CONFIG, max_steps=3, **change)
    data = make_torchrl_env(config, num_envs=2).rollout(3)
    assert data["hider", "observation"].shape[-1] == features
    assert data["hider", "observation"].isfinite().all()


def test_continuous_variant_plays():
    config = HideAndSeekConfig(discrete=False, max_steps=3)
    data = make_torchrl_env(config, num_envs=2).rollout(3)
    assert data["hider", "action"].shape[-1] == 2


def test_one_game_resets_alone():
    env = vmas_env(envs=3)
    env.reset(seed=0)
    env.step([torch.zeros(3, 4) for _ in range(10)])
    before = env.scenario.state.agents.clone()
    env.reset_at(1)
    state = env.scenario.state
    assert state.step.tolist() == [1, 0, 1]
    assert torch.equal(state.agents[[0, 2]], before[[0, 2]])
    assert not torch.equal(state.agents[1], before[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_hiders": 0}, "n_hiders=0"),
        ({"n_boxes": -1}, "n_boxes=-1"),
        ({"hider_speed": -0.1}, "hider_speed=-0.1"),
        ({"view_radius": float("nan")}, "view_radius=nan"),
        ({"preparation_fraction": 1.5}, "preparation_fraction=1.5"),
        ({"box_half_size": (0.3, 0.1)}, "box_half_size"),
        ({"seeker_speed": 0.5}, "seeker_speed=0.5"),
        ({"required_hidden": 9}, "required_hidden=9"),
        ({"agent_radius": 0.5}, "agent_radius=0.5"),
        ({"hider_speed": 0.09, "walls": ((0.0, 0.0, 0.01, 0.3),)}, "hider_speed=0.09"),
        ({"walls": ((0.0, 0.0, 0.1),)}, "walls holds"),
        ({"walls": ((0.0, float("nan"), 0.1, 0.1),)}, "walls holds"),
        ({"walls": ((0.0, 0.0, -0.1, 0.1),)}, "walls holds"),
        ({"walls": ((3.0, 0.0, 0.1, 0.1),)}, "walls holds"),
    ],
)
def test_bad_games_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        HideAndSeekConfig(**change)


def test_unknown_team_is_named():
    with pytest.raises(ValueError, match="team='referee' is unknown"):
        observation_layout(CONFIG, "referee")


@pytest.mark.parametrize("discrete", [True, False])
def test_the_parallel_environment_has_gymnasium_spaces(discrete):
    import gymnasium

    from aajr.hide_and_seek.game import parallel_env

    env = parallel_env(HideAndSeekConfig(discrete=discrete, max_steps=3))
    spaces = gymnasium.spaces.Dict({name: env.action_space(name) for name in env.possible_agents})
    observations, _ = env.reset(seed=0)
    assert all(env.observation_space(name).contains(o) for name, o in observations.items())
    spaces.seed(0)
    *_, truncated, _ = env.step(spaces.sample())
    assert not any(truncated.values())


def test_steps_that_cannot_be_taken_are_named():
    from gymnasium.error import ResetNeeded

    from aajr.hide_and_seek.game import parallel_env

    env = parallel_env(HideAndSeekConfig(n_hiders=1, n_seekers=1, n_boxes=0, max_steps=2))
    still = {name: [0, 0, 0, 0] for name in env.possible_agents}
    with pytest.raises(ResetNeeded, match=r"call reset\(\)"):
        env.step(still)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"lacks \['seeker_0'\]"):
        env.step({"hider_0": still["hider_0"]})
    with pytest.raises(ValueError, match=r"has \['referee'\] besides"):
        env.step(still | {"referee": [0, 0, 0, 0]})
    with pytest.raises(ValueError, match=r"actions\['hider_0'\]=\[11, 0, 0, 0\] is not allowed"):
        env.step(still | {"hider_0": [11, 0, 0, 0]})
    env.step(still)
    env.step(still)
    with pytest.raises(ResetNeeded, match="it is over"):
        env.step(still)
    env.reset()
    env.step(still)
