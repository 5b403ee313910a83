"""TorchRL's environments in the arena against Gymnasium's adapter and TorchRL's own loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from tensordict import TensorDict
from tensordict.nn import TensorDictModule, TensorDictSequential
from torch import nn
from torchrl.data import (
    Binary,
    Bounded,
    Categorical,
    Composite,
    MultiCategorical,
    MultiOneHot,
    OneHot,
    Unbounded,
)
from torchrl.envs import (
    EnvBase,
    GymEnv,
    PettingZooWrapper,
    RewardScaling,
    SerialEnv,
    StepCounter,
    TransformedEnv,
    VmasEnv,
)

from aajr import Ball
from aajr._seeds import derive
from aajr.arena import Agent, GymnasiumEnvironment, examine
from aajr.arena.agents.masks import masked
from aajr.arena.environments.episodes import AttackedTeam, play
from aajr.arena.environments.pettingzoo import PettingZooEnvironment
from aajr.arena.environments.sources import WithSources
from aajr.arena.spaces.gymnasium import head_of
from aajr.arena.spaces.heads import CategoricalHead
from aajr.integrations.torchrl import TorchRLEnvironment
from aajr.integrations.torchrl._specs import action_space, native, shown_space
from aajr.testing.environments import same_record
from tests.unit.arena.environments.test_pettingzoo import Fading, chooser

AGENTS = ("agents", "observation")


def cart_pole():
    return GymEnv("CartPole-v1")


def cart(episodes=4, seed=3, source=cart_pole, **settings):
    return TorchRLEnvironment(source, episodes, seed, **settings)


def navigation():
    return VmasEnv("navigation", num_envs=3, max_steps=6)


def tag():
    return VmasEnv("simple_tag", num_envs=2, max_steps=5)


def balancer():
    """Pushes towards the side to which the pole falls; episodes last 30 to 60 steps."""
    network = nn.Linear(4, 2, bias=False).requires_grad_(False)
    network.weight.copy_(torch.tensor([[0.0, 0.0, -1.0, 0.0], [0.0, 0.0, 1.0, 0.0]]))
    return Agent(network, CategoricalHead((2,)), 4, "raw", source="balancer")


def linear(features, outputs):
    network = nn.Linear(features, outputs, bias=False).requires_grad_(False)
    source = torch.Generator().manual_seed(features)
    network.weight.copy_(torch.randn(network.weight.shape, generator=source))
    return network


def pilot(environment):
    head = head_of(environment.action_space)
    return Agent(linear(environment.features, head.outputs), head, environment.features, "raw")


def clean(agent):
    return AttackedTeam(agent, None, torch.Generator())


def acting(agent, *group):
    """The agent's most likely actions, as a policy of TorchRL."""

    def act(x):
        found = agent.head.act(agent(x))
        return found if group else nn.functional.one_hot(found[:, 0], 2)

    keys = ((*group, name) for name in ("observation", "action"))
    return TensorDictModule(act, *([key] for key in keys))


@pytest.mark.parametrize(
    "source",
    [
        cart_pole,
        lambda: GymEnv("CartPole-v1", categorical_action_encoding=True),
        cart_pole(),
        lambda: TransformedEnv(cart_pole(), StepCounter(500)),
        f"{__name__}:cart_pole",
    ],
)
def test_episodes_are_those_of_gymnasiums_adapter(source):
    expected = GymnasiumEnvironment("CartPole-v1", 4, 3)
    found = play(cart(source=source), clean(balancer()))
    same_record(found, play(expected, clean(balancer())))
    assert len(set(found.played.sum(1).tolist())) > 1
    assert bool(found.terminated.all())
    assert cart(source=source).steps == expected.steps


def test_continuous_actions_and_limits_are_those_of_gymnasiums_adapter():
    agent = pilot(GymnasiumEnvironment("Pendulum-v1", 1, 0))
    expected = play(GymnasiumEnvironment("Pendulum-v1", 2, 1, limit=9), clean(agent))
    made = {
        "limit": cart(2, 1, lambda: GymEnv("Pendulum-v1"), limit=9),
        "counter": cart(2, 1, lambda: TransformedEnv(GymEnv("Pendulum-v1"), StepCounter(9))),
    }
    for environment in made.values():
        found = play(environment, clean(agent))
        for name in ("played", "observation", "action", "terminated", "truncated"):
            assert torch.equal(getattr(found, name), getattr(expected, name)), name
        torch.testing.assert_close(found.reward, expected.reward)
        assert environment.steps == 9
    assert bool(found.truncated.all())


def test_an_examination_gives_gymnasiums_scores():
    seen, wrapped = (
        examine(balancer(), world, Ball("linf", 0.2), "quick", episodes=3, epsilons=())
        for world in (GymnasiumEnvironment("CartPole-v1", 1, 0), cart(1, 0, solved=475.0))
    )
    assert len(seen.attacks) > 3
    assert seen.clean == wrapped.clean
    for attack in seen.attacks:
        for one, two in zip(seen.trials(attack, 0.2), wrapped.trials(attack, 0.2), strict=True):
            assert one.returns == two.returns, attack
    assert seen.worst.mean_return == wrapped.worst.mean_return


def test_a_batch_plays_the_rows_that_torchrl_plays():
    """Five episodes take two copies of three rows; ended rows of a copy wait for the others."""
    environment = cart(5, 3, lambda: SerialEnv(3, cart_pole), limit=500)
    record = play(environment, clean(balancer()))
    batch = SerialEnv(3, cart_pole)
    batch.set_seed(derive(3, "start", 1))
    own = batch.rollout(60, acting(balancer()), break_when_any_done=False)
    ends = own["next", "done"][..., 0].float().argmax(1) + 1
    assert record.played[3:].sum(1).tolist() == ends[:2].tolist()
    for row in range(2):
        seen = own["observation"][row, : ends[row]]
        assert torch.equal(record.observation[3 + row, : ends[row], 0], seen)
    assert len(set(record.played.sum(1).tolist())) > 2


def test_a_group_plays_what_torchrl_plays():
    environment = TorchRLEnvironment(navigation, 3, 2, observation=AGENTS)
    agent = pilot(environment)
    record = play(environment, clean(agent))
    own = navigation()
    own.set_seed(derive(2, "start", 0))
    expected = own.rollout(6, acting(agent, "agents"))
    assert environment.agents == 4
    assert torch.equal(record.observation, expected[AGENTS])
    torch.testing.assert_close(record.action, expected["agents", "action"])
    assert torch.equal(record.reward, expected["next", "agents", "reward"][..., 0])
    # this environment calls its limit of time an end
    assert bool(record.truncated.all())


def test_other_groups_act_by_their_own_policies():
    observation, shown = ("adversary", "observation"), ("agent", "observation")
    chaser, runner = (
        pilot(TorchRLEnvironment(tag, 1, 0, key, others=lambda data: data))
        for key in (observation, shown)
    )
    environment = TorchRLEnvironment(tag, 2, 2, observation, others=acting(runner, "agent"))
    record = play(environment, clean(chaser))
    own = tag()
    own.set_seed(derive(2, "start", 0))
    policies = acting(chaser, "adversary"), acting(runner, "agent")
    expected = own.rollout(5, TensorDictSequential(*policies))
    assert torch.equal(record.observation, expected[observation])
    assert torch.equal(record.reward, expected["next", "adversary", "reward"][..., 0])
    assert len(environment.opponents) == 1


class Orderly(Fading):
    """Ignores actions of agents that have left, which TorchRL goes on sending."""

    def step(self, actions):
        return super().step({name: actions[name] for name in self.agents})


@pytest.mark.filterwarnings("ignore:PettingZoo in TorchRL is tested:UserWarning")
def test_agents_that_leave_see_and_earn_nothing():
    """The same game through PettingZoo's adapter, whose agents leave at different times."""
    names, agent = ["a", "b", "c"], chooser(1)

    def game():
        return PettingZooWrapper(
            Orderly(), group_map={"team": names}, use_mask=True, done_on_any=False
        )

    def paid():
        return TransformedEnv(game(), RewardScaling(1.0, 1.0, in_keys=[("team", "reward")]))

    expected = play(PettingZooEnvironment(Fading, 4, 0, names, limit=9), clean(agent))
    found, other = (
        play(TorchRLEnvironment(source, 4, 0, ("team", "observation"), limit=9), clean(agent))
        for source in (game, paid)
    )
    assert bool((~found.alive & found.played[..., None]).any())
    same_record(found, expected)
    assert torch.equal(found.alive, expected.alive)
    assert torch.equal(other.reward, (found.reward + 1) * found.alive)


class Doors(EnvBase):
    """Shows a choice and a mask of the allowed doors; it draws from torch's global generator."""

    def __init__(self):
        super().__init__(batch_size=())
        self.observation_spec = Composite(
            action_mask=Binary(3, dtype=torch.bool), at=OneHot(3), clock=Unbounded(())
        )
        self.action_spec = Categorical(3)
        self.reward_spec = Unbounded(1)

    def _set_seed(self, seed):
        torch.manual_seed(seed)

    def _show(self):
        closed = torch.randint(3, ())
        self.allowed = torch.arange(3) != closed
        at = nn.functional.one_hot(torch.randint(3, ()), 3)
        return {"action_mask": self.allowed, "at": at, "clock": torch.rand(())}

    def _reset(self, data, **settings):
        self.time = 0
        return TensorDict(self._show(), batch_size=())

    def _step(self, data):
        self.time += 1
        open_door = self.allowed[data["action"]]
        shown = {**self._show(), "reward": open_door.float()[None]}
        shown["terminated"] = torch.tensor([self.time == 4])
        return TensorDict(shown, batch_size=())


def doors(episodes=3, seed=1, **settings):
    keys = ["action_mask", "at", "clock"]
    return TorchRLEnvironment(Doors, episodes, seed, keys, limit=9, **settings)


def test_several_entries_masks_and_choices():
    environment = doors()
    assert environment.feature_names == (
        *(f"action_mask={place}" for place in range(3)),
        *(f"at={place}" for place in range(3)),
        "clock",
    )
    assert environment.attackable("full").tolist() == [False] * 6 + [True]
    turned = TorchRLEnvironment(Doors, 2, 1, ["clock", "at"], limit=9)
    assert turned.feature_names == ("clock", "at=0", "at=1", "at=2")
    same = environment.resized(2, 1).reset().observation[..., [6, 3, 4, 5]]
    assert torch.equal(turned.reset().observation, same)
    assert bool(doors(attack_choices=True).attackable("full").all())
    agent = masked(Agent(linear(4, 3), CategoricalHead((3,)), 4, "raw"))
    record = play(environment, clean(agent))
    assert bool((record.reward[record.played] == 1).all())
    assert record.played.shape == (3, 4)
    assert bool(record.terminated.all())


def test_random_numbers_of_one_episode_do_not_reach_another():
    environment = doors()
    agent = pilot(environment)
    alone = play(environment.resized(1, 1), clean(agent))
    torch.manual_seed(0)
    before = torch.get_rng_state()
    many = play(environment, clean(agent))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(many.observation[0], alone.observation[0])
    assert not torch.equal(many.observation[1], many.observation[0])


@pytest.mark.parametrize(
    ("spec", "space"),
    [
        (OneHot(3), spaces.Discrete(3)),
        (Categorical(3), spaces.Discrete(3)),
        (OneHot(3).expand(2, 3), spaces.MultiDiscrete([3, 3])),
        (Categorical(3, shape=(2,)), spaces.MultiDiscrete([3, 3])),
        (MultiOneHot([2, 3]), spaces.MultiDiscrete([2, 3])),
        (MultiCategorical([2, 3]), spaces.MultiDiscrete([2, 3])),
        (Binary(3), spaces.MultiBinary(3)),
        (Bounded(-1.0, 2.0, (2, 2)), spaces.Box(-1, 2, (2, 2))),
        (Unbounded((2,), dtype=torch.float64), spaces.Box(-np.inf, np.inf, (2,), np.float64)),
    ],
)
def test_every_action_of_the_head_is_one_of_the_spec(spec, space):
    assert action_space(spec) == space
    head, source = head_of(space), torch.Generator().manual_seed(0)
    numbers = head.act(torch.randn(5, 4, head.outputs, generator=source))
    actions = native(spec, numbers)
    assert actions.shape == (5, 4, *spec.shape)
    assert actions.dtype is spec.dtype
    assert bool(spec.expand(5, 4, *spec.shape).is_in(actions))
    decoded = spec.to_categorical(actions) if isinstance(spec, OneHot) else actions
    torch.testing.assert_close(decoded.reshape(numbers.shape).to(numbers.dtype), numbers)


@pytest.mark.parametrize(
    ("spec", "space"),
    [
        (OneHot(3), spaces.MultiBinary(3)),
        (Binary(3), spaces.MultiBinary(3)),
        (Categorical(2, shape=(3,), dtype=torch.bool), spaces.MultiBinary(3)),
        (Categorical(3), spaces.Discrete(3)),
        (Bounded(0, 255, (2, 2, 3), dtype=torch.uint8), spaces.Box(0, 255, (2, 2, 3), np.uint8)),
        (Unbounded((), dtype=torch.int64), None),
    ],
)
def test_spaces_of_observations(spec, space):
    found = shown_space(spec)
    assert space is None or found == space
    assert found.contains(np.asarray(spec.rand().numpy()).astype(found.dtype).reshape(found.shape))


def test_sources_sights_and_resized_copies():
    environment = cart(2, 0)
    radio = WithSources(environment, reporting=["[0]", "[1]", ["[2]", "[3]"]], liars=1)
    assert radio.sources.tolist() == [0, 1, 2, 2]
    half = cart(2, 0, sight=lambda raw: torch.as_tensor(raw) / 2)
    assert torch.equal(half.reset().observation * 2, environment.reset().observation)
    facts = cart(source=TransformedEnv(cart_pole(), StepCounter(7))).facts
    assert facts["environment"] == "torchrl:GymEnv CartPole-v1 StepCounter"


def _worlds_apart():
    return VmasEnv("simple_tag", num_envs=1, group_map={"all": [*tag().agent_names]})


def unseen():
    return 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cart(episodes=0), "episodes=0"),
        (lambda: cart(limit=0), "limit=0"),
        (lambda: cart(observation="pixels"), r"\['pixels'\] are not shown.*observation"),
        (lambda: cart(source=unseen), "made a int; it must make an EnvBase"),
        (lambda: cart(source=navigation), r"not shown; the environment shows .*agents"),
        (lambda: TorchRLEnvironment(tag, 1, 0, ("agent", "observation")), "have no policy"),
        (lambda: TorchRLEnvironment(_worlds_apart, 1, 0, ("all", "observation")), "different"),
        (lambda: cart(source=lambda: SerialEnv(2, cart_pole)).steps, "no limit of time"),
        (lambda: GymnasiumEnvironment(cart_pole(), 1, 0), "no gymnasium.Env; .* for TorchRL"),
        (lambda: GymnasiumEnvironment(cart_pole, 1, 0), "made a GymEnv, which is no gymnasium.Env"),
        (lambda: cart().reset().latest, "no step has been played"),
        (lambda: action_space(Bounded(0, 5, (3,), dtype=torch.int64)), "have no head"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_agents_of_another_kind_of_action_are_refused():
    agent = Agent(linear(4, 3), CategoricalHead((3,)), 4, "raw")
    with pytest.raises(ValueError, match="actions are Discrete"):
        examine(agent, cart(), Ball("linf", 0.1), "quick", episodes=2)
