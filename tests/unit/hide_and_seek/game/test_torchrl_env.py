"""The TorchRL environment: TorchRL's own checks, a random stream of its own, optional hosts."""

import dataclasses
import subprocess
import sys

import pytest
import torch
from torchrl.envs.libs.vmas import VmasEnv
from torchrl.envs.utils import check_env_specs

from aajr.arena.agents.actors import mlp
from aajr.arena.training.advantages import rows_of
from aajr.arena.training.collection import collect
from aajr.arena.training.ppo import PPOConfig
from aajr.hide_and_seek.game import HideAndSeek, HideAndSeekConfig, make_torchrl_env, parallel_env

GAME = HideAndSeekConfig(max_steps=12, preparation_fraction=0.25, reach=0.3)


def plain(config: HideAndSeekConfig, num_envs: int, seed: int) -> VmasEnv:
    """TorchRL's VmasEnv as it is, agent by agent."""
    return VmasEnv(
        HideAndSeek(config),
        num_envs=num_envs,
        seed=seed,
        max_steps=config.max_steps,
        continuous_actions=not config.discrete,
        multidiscrete_actions=config.discrete,
    )


def player(config: HideAndSeekConfig):
    g = torch.Generator().manual_seed(3)

    def act(td):
        for team in ("hider", "seeker"):
            shape = td[team, "observation"].shape[:2]
            if config.discrete:
                sizes = torch.tensor([11, 11, 2, 2])
                action = (torch.rand(*shape, 4, generator=g) * sizes).long()
            else:
                action = 2 * torch.rand(*shape, 2, generator=g) - 1
            td[team, "action"] = action
        return td

    return act


@pytest.mark.parametrize(
    "change",
    [{}, {"discrete": False}, {"n_hiders": 3, "n_seekers": 4}, {"view_cone": 2.0}],
)
def test_it_answers_as_vmas_env_does(change):
    config = dataclasses.replace(GAME, **change)
    rollouts = []
    for make in (plain, make_torchrl_env):
        env = make(config, 6, 0)
        env.set_seed(5)
        rollouts.append(env.rollout(20, player(config), break_when_any_done=False))
    expected, found = rollouts
    flags = {(*lead, name) for lead in ((), ("next",)) for name in ("terminated", "truncated")}
    flags |= {"terminated", "truncated"}
    keys = set(expected.keys(True, True)) - flags
    assert keys == set(found.keys(True, True)) - flags
    for key in keys - {("hider", "action"), ("seeker", "action")}:
        before_reset = slice(0, config.max_steps)
        one, other = expected[key][:, before_reset], found[key][:, before_reset]
        assert one.dtype == other.dtype
        assert torch.equal(one, other), key
    assert expected["next", "done"][:, config.max_steps - 1].all()


def test_specifications_hold():
    check_env_specs(make_torchrl_env(GAME, 3))
    check_env_specs(make_torchrl_env(dataclasses.replace(GAME, discrete=False), 3))


@pytest.mark.parametrize("discrete", [True, False])
def test_the_horizon_is_truncation_here_and_in_pettingzoo(discrete):
    config = dataclasses.replace(GAME, discrete=discrete)
    after = make_torchrl_env(config, 2).rollout(config.max_steps)["next"]
    game, over = parallel_env(config), []
    game.reset(seed=0)
    while game.agents:
        actions = {name: game.action_space(name).sample() for name in game.agents}
        _, _, terminated, truncated, _ = game.step(actions)
        over.append(next(iter(truncated.values())))
        assert len(set(truncated.values())) == 1
        assert not any(terminated.values())
    assert len(over) == config.max_steps
    assert after["truncated"].squeeze(-1).tolist() == [over, over]
    assert torch.equal(after["done"], after["truncated"])
    assert not after["terminated"].any()


def test_the_flag_at_the_horizon_does_not_change_the_advantages():
    """What is learned is the return of one game: no value is bootstrapped behind its end."""
    env = make_torchrl_env(GAME, 2)
    data = collect(env, {"hider": stand_still, "seeker": stand_still}, 12, seed=0)
    config = PPOConfig()
    critic = mlp(data["hider", "observation"].shape[-1], 1, (8,), torch.Generator().manual_seed(0))
    rows = rows_of(data, "hider", critic, config)
    flipped = data.clone()
    after = flipped["next"]
    after["terminated"], after["truncated"] = after["truncated"], after["terminated"]
    assert torch.equal(rows_of(flipped, "hider", critic, config)["advantage"], rows["advantage"])
    advantage = rows["advantage"].reshape(2, 12, 5)[:, -1]
    with torch.no_grad():
        value = critic(data["hider", "observation"][:, -1]).squeeze(-1)
    expected = data["next", "hider", "reward"][:, -1].squeeze(-1) - value
    torch.testing.assert_close(advantage, expected)


def stand_still(observation):
    """A player that records what an update reads."""
    still = torch.zeros(*observation.shape[:2], 4, dtype=torch.long)
    return {
        "action": still,
        "perceived": observation,
        "shift": still.float(),
        "action_log_prob": observation.new_zeros(observation.shape[:2]),
    }


def test_one_game_of_several_resets():
    env = make_torchrl_env(GAME, 3)
    data = env.rollout(2)[:, -1]["next"]
    before = data["hider", "observation"].clone()
    data["_reset"] = torch.tensor([[False], [True], [False]])
    after = env.reset(data)["hider", "observation"]
    assert torch.equal(after[[0, 2]], before[[0, 2]])
    assert not torch.equal(after[1], before[1])
    assert env.scenario.state.step.tolist() == [2, 0, 2]


def starts(env, count: int = 2) -> torch.Tensor:
    return torch.stack([env.reset()["hider", "observation"] for _ in range(count)])


def test_a_seed_repeats_its_games():
    env = make_torchrl_env(GAME, 3, seed=0)
    env.set_seed(4)
    first = starts(env)
    env.set_seed(4)
    assert torch.equal(starts(env), first)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(starts(make_torchrl_env(GAME, 3, seed=1)), starts(env))


def test_other_environments_and_the_global_seed_change_nothing():
    alone = starts(make_torchrl_env(GAME, 3, seed=0), 3)
    env = make_torchrl_env(GAME, 3, seed=0)
    disturbed = [starts(env, 1)]
    for seed in (7, 8):
        torch.manual_seed(seed)
        starts(make_torchrl_env(GAME, 2, seed=seed))
        disturbed.append(starts(env, 1))
    assert torch.equal(torch.cat(disturbed), alone)


def test_the_global_stream_is_left_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    env = make_torchrl_env(GAME, 3)
    torch.manual_seed(0)
    env.rollout(3, player(GAME))
    assert torch.equal(torch.rand(3), expected)


def test_random_actions_are_uniform_over_the_bins():
    env = make_torchrl_env(GAME, 600)
    torch.manual_seed(0)
    actions = env.rand_action(env.reset())["hider", "action"].flatten(0, 1)
    for head, bins in enumerate((11, 11, 2, 2)):
        counts = torch.bincount(actions[:, head], minlength=bins)
        assert len(counts) == bins
        # 3000 draws: five standard deviations
        spread = 5 * (3000 / bins * (1 - 1 / bins)) ** 0.5
        assert (counts - 3000 / bins).abs().max() < spread


@pytest.mark.parametrize(
    ("discrete", "value", "message"),
    [
        (True, 11, r"values in \[0, 11\]"),
        (True, -1, r"values in \[-1, 0\]"),
        (False, 1.5, r"values in \[0, 1.5\]"),
        (False, float("nan"), "give finite numbers"),
    ],
)
def test_impossible_actions_are_named(discrete, value, message):
    env = make_torchrl_env(dataclasses.replace(GAME, discrete=discrete), 2)
    data = env.rand_action(env.reset())
    for team in ("hider", "seeker"):
        data[team, "action"] = torch.zeros_like(data[team, "action"])
    data["seeker", "action"][0, 0, 0] = value
    with pytest.raises(ValueError, match=message):
        env.step(data)


WITHOUT_HOSTS = """
import sys
sys.modules.update(dict.fromkeys(("vmas", "torchrl", "pettingzoo")))
import aajr.hide_and_seek.game as game
assert game.observation_layout(game.HideAndSeekConfig(), "hider")["own"] == slice(0, 7)
for name in ("HideAndSeek", "make_torchrl_env", "parallel_env"):
    try:
        getattr(game, name)
    except ImportError as error:
        assert "pip install 'aajr[rl" in str(error), error
    else:
        raise SystemExit(f"{name} loaded without its host")
try:
    game.referee
except AttributeError:
    pass
else:
    raise SystemExit("an unknown name was found")
"""


def test_missing_hosts_are_named_on_use():
    subprocess.run([sys.executable, "-c", WITHOUT_HOSTS], check=True)
