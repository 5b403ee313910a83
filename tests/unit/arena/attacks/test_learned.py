"""Learned adversaries: exact properties of their parts, and resumed runs equal to whole ones."""

from __future__ import annotations

import math

import pytest
import torch
from tensordict import TensorDict

from aajr import Ball, UniformNoise
from aajr.arena.agents.agent import Agent
from aajr.arena.attacks.learned import (
    Attacker,
    AttackerConfig,
    AttackerTrainer,
    AttackLearner,
    DirectedAdversary,
    LearnedAdversary,
    load_attacker,
    train_attacker,
)
from aajr.arena.attacks.learned._collection import Commanded, play_commanded
from aajr.arena.environments.episodes import AttackedTeam, score
from aajr.arena.environments.gymnasium import GymnasiumEnvironment
from aajr.arena.spaces.heads import CategoricalHead
from aajr.arena.training.advantages import rows_of
from aajr.arena.training.checkpoints import CheckpointError, save_checkpoint
from aajr.arena.training.ppo import PPOConfig
from aajr.hide_and_seek.game import HideAndSeekConfig, make_torchrl_env, observation_layout
from aajr.hide_and_seek.game.actors import team_actor
from aajr.hide_and_seek.game.items import lying_teammates, observed_items
from aajr.hide_and_seek.game.matches import Match
from aajr.hide_and_seek.game.threats import attackable_features
from aajr.hide_and_seek.training import TrainConfig, Trainer
from aajr.testing import dense
from tests.unit.arena.environments.test_environments import Signs
from tests.unit.arena.environments.test_recurrent import Summing

GAME = HideAndSeekConfig(n_hiders=2, n_seekers=1, n_boxes=1, max_steps=6)
PPO = PPOConfig(environments=4, epochs=1, minibatches=2, hidden=(8,), entropy=0.0)
MASK = attackable_features(GAME, "hider", "others")
BALL = Ball("linf", 0.1, mask=MASK, low=-2.0, high=2.0)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def victim(seed=1):
    """An actor whose outputs depend on its input."""
    actor = team_actor(len(MASK), (8,), generator=generator(seed)).requires_grad_(False)
    actor.network[-1].weight.mul_(100)
    return actor.eval()


def seeker():
    layout = observation_layout(GAME, "seeker")
    return team_actor(layout["opponents"].stop, (8,)).requires_grad_(False).eval()


def match():
    return Match(GAME, [seeker()], 1, 0)


def run(kind, iterations, directory=None, seed=0, **settings):
    config = AttackerConfig(iterations=iterations, ppo=PPO, **settings)
    trainer = AttackerTrainer(victim(), match(), BALL, kind, config, directory, seed)
    trainer.run()
    return trainer


def test_a_command_is_squashed_into_the_ball():
    scale = torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0]).double()
    mask = torch.tensor([True, False, True, True, False])
    command = dense.inputs(4, 3, seed=5)
    x = dense.inputs()
    for ball in (Ball("linf", 0.3, scale, mask), Ball("l2", 0.3, scale, mask)):
        found = LearnedAdversary(ball, lambda _: command)(dense.tanh_net(), x, generator())
        wanted = torch.zeros(4, 5).double()
        wanted[:, [0, 2, 3]] = command.tanh()
        expected = wanted * scale * 0.3
        if ball.norm == "l2":
            expected = ball.project(expected, x)
        torch.testing.assert_close(found.worst - x, expected)
        assert found.backward_passes == 0
        assert found.forward_passes == 1


def test_given_commands_replace_the_network():
    adversary = LearnedAdversary(Ball("linf", 0.3), lambda x: x * torch.nan)
    data = {"command": torch.full((4, 5), 100.0)}
    x = dense.inputs()
    found = adversary(dense.tanh_net(), x, generator(), data)
    torch.testing.assert_close(found.worst, x + 0.3)
    with pytest.raises(ValueError, match=r"the network's command has shape \(4, 5\) or NaN"):
        adversary(dense.tanh_net(), x, generator())
    with pytest.raises(ValueError, match=r"must be finite and \(4, 6\)"):
        DirectedAdversary(Ball("linf", 0.3), lambda x: x)(dense.tanh_net(), x, generator())


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_direction_is_realised_as_far_as_a_linear_victim_allows(norm):
    """max ⟨d, W(x + δ)⟩ is ε times the dual norm of Wᵀd."""
    W, direction = dense.inputs(6, 5, seed=3), dense.inputs(4, 6, seed=4)
    x = dense.inputs()
    adversary = DirectedAdversary(Ball(norm, 0.2), lambda _: 7 * direction)
    found = adversary(lambda x: x @ W.T, x, generator())
    d = direction / direction.norm(dim=1, keepdim=True)
    gain = (d * ((found.worst - x) @ W.T)).sum(1)
    dual = (d @ W).abs().sum(1) if norm == "linf" else (d @ W).norm(dim=1)
    torch.testing.assert_close(gain, 0.2 * dual)
    torch.testing.assert_close(found.gradients[0], d @ W)
    assert found.backward_passes == 1


def test_sampled_commands_have_their_gaussian_density():
    attacker = Attacker(5, 3, (8,), 0.5, generator())
    x = dense.inputs(2000, 5, dtype=torch.float32)
    command, log_prob = attacker.sample(x, generator(1))
    noise = ((command - attacker(x)) / 0.5).detach()
    expected = -(noise.square().sum(1) + 3 * math.log(2 * math.pi)) / 2 - 3 * math.log(0.5)
    torch.testing.assert_close(log_prob, expected, rtol=1e-5, atol=1e-5)
    assert abs(float(noise.std()) - 1) < 0.03
    again, _ = attacker.sample(x, generator(1))
    assert torch.equal(command, again)


def rows(learner, observation, advantage, seed=1):
    command, log_prob = learner.attacker.sample(observation, generator(seed))
    return TensorDict(
        {
            "observation": observation,
            "state": observation,
            "action": command,
            "action_log_prob": log_prob,
            "advantage": advantage(command).unsqueeze(1),
            "value_target": torch.zeros(len(observation), 1),
        },
        [len(observation)],
    )


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def test_no_advantage_leaves_the_attacker_unchanged():
    learner = AttackLearner(PPO, 5, 3, 5, 0.5, seed=0)
    before, critic = weights(learner.attacker), weights(learner.critic)
    x = dense.inputs(64, 5, dtype=torch.float32)
    learner.update(rows(learner, x, lambda command: torch.zeros(64)), generator())
    assert torch.equal(weights(learner.attacker), before)
    assert not torch.equal(weights(learner.critic), critic)


def test_a_bandit_is_solved():
    """The reward of a command is the squashed command along a direction that the state names."""
    ppo = PPOConfig(epochs=4, minibatches=4, hidden=(16,), entropy=0.0, learning_rate=1e-2)
    learner = AttackLearner(ppo, 5, 2, 5, 0.5, seed=0)
    for index in range(40):
        x = dense.inputs(256, 5, seed=index, dtype=torch.float32)
        sign = torch.stack([x[:, 0].sign(), torch.ones(256)], 1)
        batch = rows(learner, x, lambda u, s=sign: (u.tanh() * s).sum(1), seed=index)
        learner.update(batch, generator(index))
    x = dense.inputs(512, 5, seed=99, dtype=torch.float32)
    mean = learner.attacker(x).tanh().detach()
    assert float((mean[:, 0] * x[:, 0].sign()).mean()) > 0.75
    assert float(mean[:, 1].mean()) > 0.85


def attacker_of(ball, features):
    attacker = Attacker(
        features, features if ball.mask is None else int(ball.mask.sum()), (8,), 0.5, generator()
    )
    adversary = LearnedAdversary(ball, attacker)
    return Commanded(attacker, adversary), adversary


def test_the_victim_acts_on_what_it_is_shown_and_the_attacker_earns_what_it_loses():
    commanded, adversary = attacker_of(BALL, len(MASK))
    data, record = play_commanded(match().resized(4, 0), victim(), commanded, generator())
    assert torch.equal(data["team", "observation"], record.observation)
    x = record.observation.flatten(0, 2)
    command = data["team", "action"].flatten(0, 2)
    shown = adversary(victim(), x, generator(), {"command": command}).worst
    logits = victim()(shown).split(victim().heads, -1)
    action = torch.stack([part.argmax(-1) for part in logits], -1)
    assert torch.equal(record.action.flatten(0, 2), action)
    assert not torch.equal(victim()(shown), victim()(x))
    assert torch.equal(data["next", "team", "reward"][..., 0], -record.reward)
    assert data["next", "done"][:, :, 0].sum(1).tolist() == [1] * 4


def test_episodes_of_unequal_length_are_valued_to_their_own_end():
    head = CategoricalHead((2,))
    agent = Agent(torch.nn.Linear(4, 2).requires_grad_(False), head, 4, "raw")
    commanded, _ = attacker_of(Ball("linf", 0.1), 4)
    data, record = play_commanded(
        GymnasiumEnvironment("CartPole-v1", 6, 0), agent, commanded, generator()
    )
    ppo = PPOConfig(discount=1.0, trace=1.0)
    rows = rows_of(data, "team", lambda state: torch.zeros(*state.shape[:-1], 1), ppo)
    lengths = record.played.sum(1, keepdim=True)
    assert len(set(lengths.flatten().tolist())) > 1
    left = lengths - torch.arange(record.played.shape[1])
    found = rows["value_target"].reshape(record.played.shape)
    assert torch.equal(found[record.played], -left[record.played].float())


class Narrow(Signs):
    features = 2


def test_a_victim_with_a_memory_is_commanded_row_by_row():
    ball = Ball("linf", 0.5)
    commanded, _ = attacker_of(ball, 2)
    data, record = play_commanded(Narrow(3, 0), Summing(), commanded, generator())
    shown = record.observation + 0.5 * data["team", "action"].tanh()
    torch.testing.assert_close(record.action, shown.cumsum(1))


@pytest.mark.parametrize("kind", ["sa_rl", "pa_ad"])
def test_a_run_goes_on_bit_for_bit(kind, tmp_path):
    whole = run(kind, 3, tmp_path / "whole")
    run(kind, 2, tmp_path / "parts")
    torch.manual_seed(77)
    parts = run(kind, 3, tmp_path / "parts")
    assert whole.history == parts.history
    assert len(whole.history) == 3
    for name, value in whole.learner.state().items():
        assert torch.equal(value, parts.learner.state()[name]), name
    assert not torch.equal(weights(whole.learner.attacker), weights(run(kind, 2).learner.attacker))


@pytest.mark.parametrize("kind", ["sa_rl", "pa_ad"])
def test_a_checkpoint_is_the_adversary(kind, tmp_path):
    config = AttackerConfig(iterations=1, ppo=PPO)
    adversary = train_attacker(victim(), match(), BALL, kind, config, tmp_path)
    loaded = load_attacker(tmp_path / "attacker.safetensors", BALL)
    x = dense.inputs(8, len(MASK), dtype=torch.float32)
    one, two = (a(victim(), x, generator()).worst for a in (adversary, loaded))
    assert torch.equal(one, two)
    assert torch.equal(one[:, ~MASK], x[:, ~MASK])
    assert type(adversary) is type(loaded)


def test_training_leaves_the_victim_and_the_global_state_alone():
    actor, played = victim(), match()
    before = torch.get_rng_state()
    state = {k: v.clone() for k, v in actor.state_dict().items()}
    config = AttackerConfig(iterations=1, ppo=PPO)
    train_attacker(actor, played, BALL, "sa_rl", config)
    assert all(torch.equal(v, state[k]) for k, v in actor.state_dict().items())
    assert torch.equal(torch.get_rng_state(), before)


def test_another_run_is_not_continued(tmp_path):
    run("sa_rl", 1, tmp_path)
    for other in ({"kind": "pa_ad"}, {"kind": "sa_rl", "seed": 1}, {"deviation": 0.2}):
        settings = {"kind": "sa_rl", **other}
        with pytest.raises(CheckpointError, match="belongs to another run"):
            run(settings.pop("kind"), 2, tmp_path, **settings)


def test_foreign_checkpoints_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_checkpoint(path, {"a": torch.zeros(1)}, {"iteration": 1})
    with pytest.raises(CheckpointError, match="holds no attacker"):
        load_attacker(path, BALL)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "dqn"}, "kind='dqn' is unknown"),
        ({"victim": team_actor(7)}, "the victim reads 7 features, the environment shows"),
        ({"ball": Ball("linf", 0.1, mask=MASK[:5])}, "mask of shape"),
    ],
)
def test_bad_runs_are_refused(change, message):
    arguments = {
        "victim": victim(),
        "match": match(),
        "ball": BALL,
        "kind": "sa_rl",
        "config": AttackerConfig(ppo=PPO),
    }
    with pytest.raises(ValueError, match=message):
        AttackerTrainer(**(arguments | change))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"iterations": 0}, "iterations=0"),
        ({"steps": 0}, "steps=0"),
        ({"deviation": 0.0}, r"deviation=0\.0"),
    ],
)
def test_bad_configurations_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        AttackerConfig(**settings)


def test_items_are_what_the_observation_says():
    game = HideAndSeekConfig(n_hiders=4, n_seekers=2)
    groups, layout = observed_items(game, "hider"), observation_layout(game, "hider")
    assert bool((groups[: layout["teammates"].start] == -1).all())
    assert groups[layout["teammates"]].tolist() == [0, 0, 1, 1, 2, 2]
    assert groups[layout["opponents"]].tolist() == [3, 3, 3, 4, 4, 4]


@pytest.mark.parametrize("liars", [[0], [2], [1, 3]])
def test_lies_are_where_the_liar_is_told_of(liars):
    """Moving the liars changes what the mask marks, and only that, for the honest."""
    game = HideAndSeekConfig(n_hiders=4, n_seekers=1, n_boxes=0, walls=())
    env = make_torchrl_env(game, num_envs=1)
    before = env.reset()["hider", "observation"][0]
    position = before[:, :2]
    told = lying_teammates(game, "hider", liars)
    mates = observation_layout(game, "hider")["teammates"]
    moved = position.clone()
    moved[liars] += 10
    for receiver in set(range(4)) - set(liars):
        others = [i for i in range(4) if i != receiver]
        seen = (position[others] - position[receiver]).flatten()
        torch.testing.assert_close(before[receiver, mates], seen)
        changed = (moved[others] - position[receiver]).flatten() != seen
        assert torch.equal(told[receiver, mates], changed)
    assert not bool(told[liars].any())
    assert int(told.sum()) == 2 * len(liars) * (4 - len(liars))


@pytest.mark.parametrize("liars", [[], [4], [0, 1, 2, 3], [-1]])
def test_bad_coalitions_are_refused(liars):
    with pytest.raises(ValueError, match="is not allowed; name some, not all, of the agents"):
        lying_teammates(HideAndSeekConfig(n_hiders=4), "hider", liars)


def test_liars_need_a_place():
    with pytest.raises(ValueError, match="observe_nearest=1 gives no teammate a place"):
        lying_teammates(HideAndSeekConfig(n_hiders=4, observe_nearest=1), "hider", [0])


def test_learned_attacks_hurt_more_than_noise():
    """A smoke test: seconds of training in a small game; the exact properties are above."""
    game = HideAndSeekConfig(
        n_hiders=2, n_seekers=2, n_boxes=0, max_steps=20, view_radius=0.6, preparation_fraction=0.2
    )
    features = observation_layout(game, "seeker")["opponents"].stop
    opponents = [team_actor(features, (16,)).requires_grad_(False).eval()]
    ppo = PPOConfig(environments=128, hidden=(32,), learning_rate=3e-3)
    trainer = Trainer(TrainConfig(iterations=25, env=game, ppo=ppo), opponents)
    for _ in range(25):
        trainer.step()
    actor = trainer.learners["hider"].actor.requires_grad_(False).eval()
    ball, match = Ball("linf", 0.4), Match(game, opponents, 256, seed=5)

    def mean_return(adversary, name):
        return score(match, AttackedTeam(actor, adversary, generator()), name, 0.4).mean_return

    noise = mean_return(UniformNoise(ball), "noise")
    ppo = PPOConfig(environments=128, epochs=4, hidden=(32,), learning_rate=3e-3, entropy=0.0)
    for kind, iterations, margin in (("sa_rl", 30, 0.05), ("pa_ad", 10, 0.2)):
        config = AttackerConfig(iterations=iterations, ppo=ppo)
        adversary = train_attacker(actor, match, ball, kind, config)
        found = mean_return(adversary, kind)
        assert found < noise - margin, kind
