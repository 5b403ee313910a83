"""Matches, attacks on them, and fitted critics."""

import dataclasses

import pytest
import torch

from aajr import Adversary, Ball, Divergence, ProjectedGradientAscent, Trajectory, UniformNoise
from aajr.arena.agents.actors import Actor
from aajr.arena.attacks.critics import Experience, fit_critic, r_squared, returns_to_go
from aajr.arena.attacks.victim import Victim
from aajr.arena.environments.episodes import AttackedTeam, contest, play, score
from aajr.arena.settings import Effort
from aajr.arena.spaces.heads import one_hot
from aajr.hide_and_seek.game import HideAndSeekConfig, hiders_success
from aajr.hide_and_seek.game.actions import BINS
from aajr.hide_and_seek.game.actors import team_actor
from aajr.hide_and_seek.game.matches import Match, floors
from aajr.hide_and_seek.game.threats import attackable_features
from aajr.studies.comparison.attacks import scores_of, sensitivity, suite_of
from aajr.studies.comparison.presets import PRESETS

GAME = HideAndSeekConfig(max_steps=8)
EFFORT = Effort(steps=2, restarts=1, critic_episodes=16)
SUITE = suite_of(dataclasses.replace(PRESETS["others-smoke"], effort=EFFORT, critics=1))


def random_actor(seed: int, features: int = 60) -> Actor:
    actor = team_actor(features, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        actor.network[-1].weight.mul_(100)
    return actor.requires_grad_(False)


@pytest.fixture
def match() -> Match:
    return Match(GAME, [random_actor(1), random_actor(2)], episodes=16, seed=3)


def attacked(actor: Actor, adversary=None, seed: int = 0) -> AttackedTeam:
    return AttackedTeam(actor, adversary, torch.Generator().manual_seed(seed))


def test_every_policy_meets_the_same_starts(match):
    first = play(match, attacked(random_actor(5)))
    second = play(match, attacked(random_actor(6)))
    assert torch.equal(first.observation[:, 0], second.observation[:, 0])
    other = play(dataclasses.replace(match, seed=4), attacked(random_actor(5)))
    assert not torch.equal(first.observation[:, 0], other.observation[:, 0])


def test_play_ignores_the_global_seed(match):
    torch.manual_seed(0)
    first = play(match, attacked(random_actor(5)))
    torch.manual_seed(1)
    second = play(match, attacked(random_actor(5)))
    assert torch.equal(first.observation, second.observation)
    assert torch.equal(first.reward, second.reward)


def test_score_counts_what_play_saw(match):
    actor = random_actor(5)
    record = play(match, attacked(actor))
    hidden = (record.seen < 0.5).sum(1)
    wins = sum(int(h) >= 2 for h in hidden) / match.episodes
    result = score(match, attacked(actor), "none", 0.0)
    assert result.success == pytest.approx(wins)
    assert result.mean_return == pytest.approx(float(record.reward.sum(1).mean()))
    assert bool(hiders_success(record.seen, 2).float().mean() == wins)


def test_the_attack_stays_in_its_mask_and_ball(match):
    actor = random_actor(5)
    mask = attackable_features(GAME, "hider", "others")
    seen = []

    class Watching(Actor):
        def forward(self, observation):
            seen.append(observation)
            return super().forward(observation)

    watcher = Watching(60, BINS)
    watcher.load_state_dict(actor.state_dict())
    adversary = UniformNoise(Ball("linf", 0.3, mask=mask))
    result = score(match, attacked(watcher, adversary), "noise", 0.3)
    assert 0.29 < result.largest_perturbation <= 0.3 + 1e-5
    assert result.changed_actions > 0
    clean = seen[0]
    perturbed = next(x for x in seen if not torch.equal(x, clean))
    assert torch.equal(clean[:, ~mask], perturbed[:, ~mask])


def test_an_attack_that_never_arrives_is_an_error(match):
    adversary = UniformNoise(Ball("linf", 0.0))
    with pytest.raises(RuntimeError, match="must reach the policy"):
        score(match, attacked(random_actor(5), adversary), "noise", 0.1)


class Reading(Adversary):
    """Adds a step's worth of its radius, and keeps what it was given."""

    def __init__(self, ball, memory=0):
        self.ball, self.given = ball, []
        if memory:
            self.memory = memory

    def run(self, policy, reference, generator):
        self.given.append((reference.inputs, dict(reference.data)))
        share = 0.5 if len(self.given) % 2 else 1.0
        worst = reference.inputs + share * self.ball.epsilon
        return Trajectory(
            reference=reference,
            points=torch.stack([reference.inputs, worst]),
            gradients=torch.zeros_like(worst).unsqueeze(0),
            losses=torch.zeros(1, len(worst)),
            worst=worst,
            forward_passes=3,
            backward_passes=2,
        )


def test_an_attack_over_an_episode_reads_what_came_before(match):
    adversary = Reading(Ball("linf", 0.25), memory=2)
    outcome = contest(match, attacked(random_actor(5), adversary), "reading", 0.25)
    inputs = [x for x, _ in adversary.given]
    for step, (x, data) in enumerate(adversary.given):
        assert set(data) == {"time", "previous", "spent", "history"}
        assert torch.equal(data["time"], torch.full((80,), step))
        expected = torch.stack([inputs[max(0, step - 2)], inputs[max(0, step - 1)]], 1)
        assert torch.equal(data["history"], expected)
        size = 0.0 if step == 0 else 0.125 if step % 2 else 0.25
        assert torch.allclose(data["previous"], torch.full_like(x, size), atol=1e-6)
        spent = 0.125 * ((step + 1) // 2) + 0.25 * (step // 2)
        assert torch.allclose(data["spent"], torch.full((80,), spent), atol=1e-5)
    assert (outcome.forward_passes, outcome.backward_passes) == (3, 2)
    flat = outcome.record.observation.transpose(0, 1).flatten(1, 2)
    assert torch.equal(torch.stack(inputs), flat)


def test_without_memory_no_history_is_kept(match):
    adversary = Reading(Ball("linf", 0.25))
    score(match, attacked(random_actor(5), adversary), "reading", 0.25)
    assert all(set(data) == {"time", "previous", "spent"} for _, data in adversary.given)


def test_an_attack_on_logits_reads_logits_of_before(match):
    adversary = Reading(Ball("linf", 0.25), memory=1)
    actor = random_actor(5)
    hiders = AttackedTeam(actor, adversary, torch.Generator(), on_logits=True)
    score(match, hiders, "reading", 0.25)
    (first, _), (_, second) = adversary.given[:2]
    assert torch.equal(second["history"][:, 0], first)
    assert torch.equal(actor(second["observation"]), adversary.given[1][0])


def test_the_outcome_tells_every_episode(match):
    outcome = contest(match, attacked(random_actor(5)), "none", 0.0)
    assert outcome.record.won.dtype == torch.bool
    assert outcome.score.success == pytest.approx(float(outcome.record.won.float().mean()))
    assert torch.equal(outcome.record.won, hiders_success(outcome.record.seen, 2))
    assert (outcome.forward_passes, outcome.backward_passes) == (1, 0)


def test_mad_changes_more_actions_than_noise(match):
    actor = random_actor(5)
    ball = Ball("linf", 0.05)
    pgd = ProjectedGradientAscent(ball, Divergence(), steps=5)
    strong = score(match, attacked(actor, pgd), "mad", 0.05)
    weak = score(match, attacked(actor, UniformNoise(ball)), "noise", 0.05)
    assert strong.changed_actions > 1.5 * weak.changed_actions


def test_the_suite_scores_every_attack_at_every_radius(match):
    victim = Victim(random_actor(5), match, "others", EFFORT)
    scores = scores_of(victim, SUITE, [0.0, 0.1, 0.2])
    cells = [(s.attack, s.epsilon) for s in scores]
    assert cells == [
        ("none", 0.0),
        *((name, e) for name in ("noise", "mad", "critic_0") for e in (0.1, 0.2)),
    ]
    assert scores_of(victim, SUITE, [0.0, 0.1, 0.2]) == scores
    assert list(victim.preparation) == ["critic_0_r2"]
    facts = sensitivity(victim, 0.1)
    assert 1 <= facts["stable_rank"] <= 26
    assert 0 < facts["alignment"] <= 1


def test_the_actions_threat_moves_logits(match):
    victim = Victim(random_actor(5), match, "actions", EFFORT)
    result = {s.attack: s for s in scores_of(victim, SUITE, [2.0])}
    assert result["mad"].changed_actions > 0
    assert result["critic_0"].largest_perturbation <= 2.0 + 1e-5


def test_floors_name_both(match):
    assert set(floors(match)) == {"motionless", "random"}


def test_returns_to_go_by_hand():
    reward = torch.tensor([[1.0, 2.0, 4.0]])
    assert torch.equal(returns_to_go(reward, 0.5), torch.tensor([[3.0, 4.0, 4.0]]))


def test_one_hot_of_heads():
    action = torch.tensor([[1, 0]])
    assert one_hot(action, (2, 3)).tolist() == [[0.0, 1.0, 1.0, 0.0, 0.0]]


def test_r_squared_ends():
    target = torch.tensor([1.0, 2.0, 3.0])
    assert r_squared(target, target) == 1
    assert r_squared(target.mean().expand(3), target) == pytest.approx(0)


def test_a_fitted_critic_ranks_actions():
    generator = torch.Generator().manual_seed(0)
    observation = torch.randn(200, 4, 3, 5, generator=generator)
    action = torch.randint(0, 2, (200, 4, 3, 1), generator=generator)
    hot = one_hot(action, (2,))
    reward = observation[..., 0] * (2 * action[..., 0] - 1)
    critic, fit = fit_critic(
        Experience(observation, hot, reward), generator, discount=0.0, epochs=20
    )
    assert fit > 0.9
    state = torch.tensor([[2.0, 0, 0, 0, 0], [-2.0, 0, 0, 0, 0]])
    first, second = (critic(state, one_hot(torch.full((2, 1), i), (2,))) for i in (0, 1))
    assert (second > first).tolist() == [True, False]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: Match(GAME, [], 16, 0), "opponents is empty"),
        (lambda m: dataclasses.replace(m, episodes=0), "episodes=0"),
        (lambda m: Victim(random_actor(0, 59), m, "full", EFFORT), "59 features"),
        (lambda m: Victim(random_actor(0), m, "everything", EFFORT), "threat="),
        (
            lambda m: scores_of(Victim(random_actor(0), m, "full", EFFORT), SUITE, [-0.1]),
            "epsilon=-0.1",
        ),
        (lambda m: dataclasses.replace(PRESETS["others-smoke"], critics=-1), "critics=-1"),
        (lambda m: Effort(critic_episodes=3), "critic_episodes=3"),
    ],
)
def test_bad_input_is_named(match, call, message):
    with pytest.raises(ValueError, match=message):
        call(match)
