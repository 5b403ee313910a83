"""Learned attackers that choose who lies: exact probabilities, budgets, and what they find out."""

from __future__ import annotations

import itertools
import json
import math

import pytest
import torch
from safetensors import safe_open

from aajr import Ball, UniformNoise
from aajr.adversaries import LyingSources
from aajr.arena.agents.actors import Actor
from aajr.arena.attacks.learned import (
    AttackerConfig,
    AttackerTrainer,
    DirectedAdversary,
    LearnedAdversary,
    LearnedLiars,
    load_attacker,
    train_attacker,
)
from aajr.arena.attacks.learned._coalitions import Commands, coalition_log_prob, draw_coalition
from aajr.arena.environments.episodes import AttackedTeam, play
from aajr.arena.training.checkpoints import load_checkpoint, save_checkpoint
from aajr.arena.training.ppo import PPOConfig
from aajr.geometry import Sparse
from tests.unit.arena.environments.test_environments import Signs

GROUPS = torch.tensor([0, 0, 2, 2, 5, -1])
KINDS = pytest.mark.parametrize("kind", ["sa_rl", "pa_ad"])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def threat(budget=1, epsilon=1.0, **settings):
    return Sparse(Ball("linf", epsilon, low=-3.0, high=3.0, **settings), budget, GROUPS)


def coalitions(sources, liars):
    """All coalitions as masks ``[coalitions, sources]``."""
    chosen = list(itertools.combinations(range(sources), liars))
    masks = torch.zeros(len(chosen), sources, dtype=torch.bool)
    for row, members in enumerate(chosen):
        masks[row, list(members)] = True
    return masks


def by_orders(scores, members):
    """Probability of a coalition: the sum over all orders in which its members can be drawn."""
    weights = [math.exp(score) for score in scores.tolist()]
    total = 0.0
    for order in itertools.permutations(members):
        left, probability = sum(weights), 1.0
        for index in order:
            probability *= weights[index] / left
            left -= weights[index]
        total += probability
    return total


@pytest.mark.parametrize("liars", [0, 1, 2, 3, 4, 5])
def test_the_probability_of_a_coalition_is_the_sum_over_all_orders(liars):
    scores = torch.randn(5, generator=generator(), dtype=torch.float64)
    masks = coalitions(5, liars)
    found = coalition_log_prob(scores.expand(len(masks), 5), masks).exp()
    expected = [by_orders(scores, mask.nonzero().flatten().tolist()) for mask in masks]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))
    assert float(found.sum()) == pytest.approx(1.0)


def test_its_gradient_is_that_of_the_sum_over_orders():
    scores = torch.randn(4, generator=generator(), dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([True, False, True, True])
    (found,) = torch.autograd.grad(coalition_log_prob(scores, mask), scores)
    step = 1e-6 * torch.eye(4, dtype=torch.float64)
    members = mask.nonzero().flatten().tolist()
    up, down = (
        [math.log(by_orders(scores.detach() + s * d, members)) for d in step] for s in (1, -1)
    )
    slopes = [(u - d) / 2e-6 for u, d in zip(up, down, strict=True)]
    torch.testing.assert_close(found.tolist(), slopes, rtol=1e-6, atol=1e-8)


def test_coalitions_are_drawn_with_their_probability():
    scores = torch.tensor([0.0, 1.0, -1.0, 0.5])
    drawn = draw_coalition(scores.expand(40_000, 4), 2, generator())
    assert bool((drawn.sum(-1) == 2).all())
    masks = coalitions(4, 2)
    share = (drawn.unsqueeze(1) == masks).all(-1).float().mean(0)
    expected = coalition_log_prob(scores.expand(len(masks), 4), masks).exp()
    assert float((share - expected).abs().max()) < 4 * 0.5 / 40_000**0.5


def test_rows_without_a_draw_have_probability_one_and_a_draw_of_all_too():
    scores = torch.tensor([[90.0, -90.0, 0.0]] * 2, requires_grad=True)
    found = coalition_log_prob(scores, torch.tensor([[False] * 3, [True, True, False]]))
    assert float(found[0].detach()) == 0.0
    torch.autograd.backward(found.sum())
    assert bool(scores.grad.isfinite().all())
    assert bool((scores.grad[0] == 0).all())
    assert draw_coalition(scores.detach(), 7, generator()).all()
    with pytest.raises(ValueError, match=r"liars=13 .*at most 12"):
        coalition_log_prob(torch.zeros(1, 14), torch.arange(14)[None] < 13)


def test_commands_and_coalition_are_independent():
    loc, scale, scores = torch.randn(3, 2), torch.full((3, 2), 0.7), torch.randn(3, 4)
    dense = Commands(loc, scale, scores)
    command = torch.randn(3, 2, generator=generator())
    gauss = torch.distributions.Normal(loc, scale)
    for mask in coalitions(4, 2):
        value = torch.cat([command, mask.float().expand(3, 4)], -1)
        alone = coalition_log_prob(scores, mask.expand(3, 4))
        torch.testing.assert_close(dense.log_prob(value), gauss.log_prob(command).sum(-1) + alone)
    first = torch.distributions.Categorical(logits=scores).entropy()
    torch.testing.assert_close(dense.entropy(), gauss.entropy().sum(-1) + first)
    assert torch.equal(
        Commands(loc, scale, scores[:, :0]).log_prob(command), gauss.log_prob(command).sum(-1)
    )


def command(*scores):
    """Three rows: commands of five features, or of one output, then a score for each source."""
    return torch.tensor([[9.0] * 5, [-9.0] * 5, [0.1, 0.2, 0.3, 0.4, 0.5]]), torch.tensor(scores)


def test_the_sources_of_greatest_score_lie_and_no_other():
    lies, scores = command([3.0, 1.0, 2.0], [0.0, 0.0, -1.0], [1.0, 1.0, 1.0])
    x = torch.randn(3, 6, generator=generator())
    network = {"command": torch.cat([lies, scores], 1)}
    attack = LearnedLiars(LearnedAdversary(Ball("linf", 0.5), torch.zeros_like), GROUPS, 2)
    delta = attack(torch.tanh, x, generator(), network).worst - x
    named = torch.tensor([[1, 1, 0, 0, 1, 0], [1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 0, 0]])
    expected = 0.5 * torch.cat([lies, torch.zeros(3, 1)], 1).tanh() * named
    torch.testing.assert_close(delta, expected)
    assert bool(attack.ball.contains(delta, x).all())


@pytest.mark.parametrize("steps", [1, 3])
def test_a_direction_is_followed_within_the_reports_of_the_liars(steps):
    """With a linear victim the best lie is known: ε sign(Wᵀd) on the liars' features."""
    W = torch.randn(1, 6, generator=generator())
    x = torch.randn(3, 6, generator=generator(1))
    scores = torch.tensor([[0.0, 2.0, 1.0], [9.0, 2.0, 1.0], [0.0, 2.0, 3.0]])
    data = {"command": torch.cat([torch.tensor([[1.0], [-2.0], [1.0]]), scores], 1)}
    directed = DirectedAdversary(Ball("linf", 0.5), torch.zeros_like, steps)
    found = LearnedLiars(directed, GROUPS, 1)(lambda x: x @ W.T, x, generator(), data)
    named = torch.tensor([[0, 0, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0]])
    expected = 0.5 * W.sign() * torch.tensor([[1.0], [-1.0], [1.0]]) * named
    torch.testing.assert_close(found.worst - x, expected)


def test_sources_that_the_mask_protects_are_not_scored():
    mask = torch.tensor([False, False, True, False, True, True])
    network = lambda x: torch.tensor([[9.0, 9.0, 0.0, 1.0]]).expand(len(x), 4)  # noqa: E731
    for liars, expected in ((1, [0, 0, 0, 0, 1, 0]), (3, [0, 0, 1, 0, 1, 0])):
        inner = LearnedAdversary(Ball("linf", 0.5, mask=mask), network)
        delta = LearnedLiars(inner, GROUPS, liars)(torch.tanh, torch.zeros(2, 6), generator()).worst
        torch.testing.assert_close(delta, 0.5 * torch.tensor([expected] * 2).float())


def test_every_feature_is_a_source_by_default():
    network = lambda x: torch.tensor([[9.0, 9.0, 9.0, 0.0, 2.0, 1.0]])  # noqa: E731
    attack = LearnedLiars(LearnedAdversary(Ball("linf", 0.5), network), None, 1)
    found = attack(torch.tanh, torch.zeros(1, 3), generator()).worst
    torch.testing.assert_close(found, torch.tensor([[0.0, 0.5, 0.0]]))


@pytest.mark.parametrize("size", [3, 7])
def test_commands_of_another_size_are_refused(size):
    attack = LearnedLiars(LearnedAdversary(Ball("linf", 0.5), lambda x: x), GROUPS, 1)
    for bad in (torch.zeros(2, size), torch.full((2, 8), torch.nan)):
        with pytest.raises(ValueError, match=r"the network's command has shape .*must be finite"):
            attack(torch.tanh, torch.zeros(2, 6), generator(), {"command": bad})


def reader(source):
    """A victim that names the sign of its first feature, as one source reports it."""
    actor = Actor(6, heads=(2,), hidden=()).requires_grad_(False)
    weight = torch.zeros(2, 6)
    weight[:, 2 * source] = torch.tensor([-1.0, 1.0])
    actor.network[0].weight.copy_(weight)
    return actor


class Reports(Signs):
    """Three sources report the same sign; the victim is paid for naming it."""

    def resized(self, episodes, seed):
        return Reports(episodes, seed)

    def reset(self):
        running = super().reset()
        running.views[..., 2] = running.views[..., 4] = running.views[..., 0]
        return running


def mean_return(actor, adversary, steps=3):
    team = AttackedTeam(actor, adversary, generator(1))
    return float(play(Reports(256, 9), team).reward.mean())


PPO = PPOConfig(
    environments=64, epochs=4, minibatches=4, learning_rate=1e-2, hidden=(16,), entropy=0.0
)


@KINDS
@pytest.mark.parametrize("source", [0, 1])
def test_the_only_source_that_is_read_is_found_out(kind, source):
    """One of three sources may lie. A random liar is the one that is read every third time."""
    actor, ball = reader(source), threat()
    config = AttackerConfig(iterations=20, ppo=PPO)
    attack = train_attacker(actor, Reports(1, 0), ball, kind, config)
    random = LyingSources(UniformNoise(ball.ball), GROUPS, 1)
    clean, noise, found = (mean_return(actor, a) for a in (None, random, attack))
    assert clean == 1.0
    assert found < noise - 0.3
    x = Reports(256, 9).reset().observation.flatten(0, 1)
    delta = attack(actor, x, generator()).worst - x
    lying = torch.zeros(6).masked_fill(GROUPS.eq((0, 2, 5)[source]), 1)
    assert float((delta.abs() * lying).sum() / delta.abs().sum()) > 0.95


class Kept(AttackedTeam):
    """An attacked team that keeps every lie."""

    def _attack(self, *arguments):
        found = super()._attack(*arguments)
        self.lies.append(found.worst - found.origin)
        return found


@KINDS
@pytest.mark.parametrize("stay", [False, True])
def test_never_more_liars_than_the_budget_while_it_learns_and_after(kind, stay):
    ball = threat(budget=2, epsilon=0.5)
    config = AttackerConfig(iterations=3, ppo=PPO, keep_liars=stay)
    actor = reader(0)
    actor.network[0].weight.copy_(torch.randn(2, 6, generator=generator()))
    trainer = AttackerTrainer(actor, Reports(1, 0), ball, kind, config)
    trainer.run()
    team = Kept(actor, trainer.adversary, generator())
    team.lies = []
    play(Reports(32, 3), team)
    lies = torch.stack(team.lies)
    assert bool((ball.size(lies) <= 0.5 + 1e-6).all())
    at = torch.stack([(lies[..., GROUPS.eq(g)] != 0).any(-1) for g in (0, 2, 5)], -1)
    assert int(at.sum(-1).max()) == 2
    if stay:
        assert int(at.any(0).sum(-1).max()) == 2


def test_liars_that_stay_are_those_of_the_first_step():
    """The greatest score changes from step to step; only the first step counts."""
    network = lambda x: torch.cat([torch.full((len(x), 5), 9.0), x[:, [0, 1, 3]]], 1)  # noqa: E731
    attack = LearnedLiars(LearnedAdversary(Ball("linf", 0.5), network), GROUPS, 1, stay=True)
    environment = Signs(8, 2)
    team = Kept(reader(0), attack, generator())
    team.lies = []
    record = play(environment, team)
    best = record.observation[:, 0].flatten(0, 1)[:, [0, 1, 3]].argmax(-1)
    at = torch.stack(
        [(torch.stack(team.lies)[..., GROUPS.eq(g)] != 0).any(-1) for g in (0, 2, 5)], -1
    )
    assert bool((at == torch.nn.functional.one_hot(best, 3).bool()).all())


def test_the_draw_of_liars_that_stay_counts_once():
    """At later steps the log-probability is that of the lie alone."""
    trainer = AttackerTrainer(reader(0), Reports(1, 0), threat(2), "sa_rl", AttackerConfig(ppo=PPO))
    attacker, x = trainer.learner.attacker, torch.randn(4, 6, generator=generator())
    kept = torch.tensor([True, False, True, False])
    value, log_prob = attacker.sample(x, generator(3), kept)
    assert value[:, -3:].sum(-1).tolist() == [0, 2, 0, 2]
    mean, deviation, scores = attacker.parameters_of(x)
    lie = torch.distributions.Normal(mean, deviation).log_prob(value[:, :-3]).sum(-1)
    who = coalition_log_prob(scores[~kept], value[~kept][:, -3:] > 0)
    torch.testing.assert_close(log_prob[kept], lie[kept])
    torch.testing.assert_close(log_prob[~kept], lie[~kept] + who)


@KINDS
@pytest.mark.parametrize("stay", [False, True])
def test_a_run_goes_on_bit_for_bit(kind, stay, tmp_path):
    def run(iterations, directory):
        config = AttackerConfig(iterations=iterations, ppo=PPO, keep_liars=stay)
        trainer = AttackerTrainer(reader(0), Reports(1, 0), threat(2), kind, config, directory)
        trainer.run()
        return trainer

    whole = run(3, tmp_path / "whole")
    run(2, tmp_path / "parts")
    torch.manual_seed(77)
    parts = run(3, tmp_path / "parts")
    assert whole.history == parts.history
    assert all(torch.equal(v, parts.learner.state()[k]) for k, v in whole.learner.state().items())
    loaded = load_attacker(tmp_path / "whole/attacker.safetensors", threat(2))
    x = torch.randn(16, 6, generator=generator())
    data = {"liars": torch.zeros(16, 3, dtype=torch.bool)}
    one, two = (a(reader(0), x, generator(), data).worst for a in (whole.adversary, loaded))
    assert torch.equal(one, two)
    assert loaded.stay is stay


def test_another_threat_is_another_run(tmp_path):
    config = AttackerConfig(iterations=1, ppo=PPO)
    train_attacker(reader(0), Reports(1, 0), threat(2), "sa_rl", config, tmp_path)
    others = [
        (threat(1), config),
        (Sparse(threat(2).ball, 2, torch.tensor([0, 0, 2, 2, 2, -1])), config),
        (threat(2), AttackerConfig(iterations=1, ppo=PPO, keep_liars=True)),
        (threat(2).ball, config),
    ]
    for ball, settings in others:
        with pytest.raises(ValueError, match="belongs to another run"):
            AttackerTrainer(reader(0), Reports(1, 0), ball, "sa_rl", settings, tmp_path)
    with pytest.raises(ValueError, match="scores 3 sources but ball is Ball; give Sparse"):
        load_attacker(tmp_path / "attacker.safetensors", threat(2).ball)
    keep = AttackerConfig(keep_liars=True)
    with pytest.raises(ValueError, match="keep_liars=True but a Ball has no liars"):
        AttackerTrainer(reader(0), Reports(1, 0), threat(2).ball, "sa_rl", keep)


def test_a_checkpoint_is_data_only_and_older_ones_still_load(tmp_path):
    path = tmp_path / "attacker.safetensors"
    config = AttackerConfig(iterations=1, ppo=PPO)
    attack = train_attacker(reader(0), Reports(1, 0), threat(2), "pa_ad", config, tmp_path)
    with safe_open(path, framework="pt") as file:
        meta = json.loads(file.metadata()["aajr"])
    assert meta["sources"] == 3
    assert attack.adversary.network.sources == 3
    ball = Ball("linf", 0.5)
    train_attacker(reader(0), Reports(1, 0), ball, "pa_ad", config, tmp_path / "old")
    old = tmp_path / "old/attacker.safetensors"
    tensors, meta = load_checkpoint(old)
    assert "keep_liars" not in meta["run"]["config"]
    del meta["sources"], meta["format_version"]
    save_checkpoint(old, tensors, meta)
    assert isinstance(load_attacker(old, ball), DirectedAdversary)
    longer = AttackerConfig(iterations=2, ppo=PPO)
    trainer = AttackerTrainer(reader(0), Reports(1, 0), ball, "pa_ad", longer, tmp_path / "old")
    assert trainer.iteration == 1
