"""Suites, their trials of a policy, and the figures computed from the trials."""

import dataclasses
import json

import pytest
import torch

from aajr import Ball
from aajr.arena.attacks.builders import noise, pgd_mad, square
from aajr.arena.attacks.suites import QUICK, STANDARD, SUITES, THOROUGH, AttackSpec, Suite, suite_of
from aajr.arena.attacks.victim import Victim
from aajr.arena.environments.episodes import AttackedTeam, contest
from aajr.arena.examination.trials import Examination, Examinee, evaluation_of
from aajr.arena.records.evaluation import (
    Assessment,
    Evaluation,
    Score,
    Trial,
    read_evaluation,
    write_evaluation,
)
from aajr.arena.records.method_comparison import comparisons, method_summaries
from aajr.arena.records.tables import attack_table, method_table
from aajr.arena.settings import Effort
from aajr.hide_and_seek.game.matches import Match
from aajr.hide_and_seek.training.trained_teams import examinee, trained_teams
from tests.unit.arena.teams import FEATURES, GAME, random_actor, save_team

TINY = Effort(
    steps=2,
    restarts=1,
    queries=8,
    generations=1,
    critic_episodes=12,
    attacker_iterations=1,
    attacker_environments=8,
)
EPISODES = 8


def small(suite: Suite, *names: str) -> Suite:
    chosen = tuple(a for a in suite.attacks if not names or a.name in names)
    return dataclasses.replace(suite, effort=TINY, attacks=chosen)


def make_victim(threat="others", seed=2) -> Victim:
    match = Match(GAME, [random_actor(1, FEATURES["seeker"])], EPISODES, seed=4)
    return Victim(random_actor(seed, FEATURES["hider"]), match, threat, TINY)


@pytest.fixture
def league(tmp_path):
    save_team(tmp_path / "league/checkpoint.safetensors", 9, teams=("hider", "seeker"))
    return trained_teams([tmp_path / "league"], "seeker")


@pytest.fixture
def subject(tmp_path, league):
    def make(plan: Examination, seed: int = 1, weight: float = 0.0) -> Examinee:
        path = tmp_path / f"hiders_{weight:g}_{seed}/checkpoint.safetensors"
        save_team(path, seed, weight=weight)
        return examinee(trained_teams([path], "hider")[0], league, plan, tmp_path / "trials")

    return make


def test_a_game_that_chasers_cannot_play_asks_for_opponents(tmp_path, league):
    plan = Examination(QUICK, epsilons=(0.1,), episodes=4)
    with pytest.raises(ValueError, match="opponents is empty"):
        examinee(trained_teams([tmp_path / "league"], "hider")[0], [], plan, tmp_path)


def trial(name, epsilon, won, kind="gradient", fixed=False, **changes) -> Trial:
    success = won.count("1") / len(won)
    score = Score(
        name,
        epsilon,
        success=success,
        episodes=len(won),
        mean_return=0.0,
        changed_actions=0.5,
        largest_perturbation=epsilon,
    )
    facts = {"forward_passes": 1.0, "backward_passes": 0.0} | changes
    return Trial(score=score, kind=kind, unit="ε", fixed=fixed, won=won, **facts)


def assessment(*trials, method="plain", seed=0, clean="1111") -> Assessment:
    none = trial("none", 0.0, clean, "none")
    return Assessment(
        checkpoint=f"{method}_{seed}", method=method, seed=seed, trials=(none, *trials)
    )


def test_suites_are_nested_and_versioned():
    for smaller, larger in ((QUICK, STANDARD), (STANDARD, THOROUGH)):
        assert smaller.attacks == larger.attacks[: len(smaller.attacks)]
    sizes = {t: [len(s.against(t)) for s in SUITES.values()] for t in ("full", "reports")}
    assert sizes == {"full": [4, 12, 33], "reports": [4, 12, 16]}
    facts = json.loads(json.dumps(STANDARD.facts()))
    assert (facts["name"], facts["version"]) == ("standard", STANDARD.version)
    assert Effort(**facts["effort"]) == STANDARD.effort
    assert [a["name"] for a in facts["attacks"]] == [a.name for a in STANDARD.attacks]
    assert all(suite_of(name) is suite for name, suite in SUITES.items())


@pytest.mark.filterwarnings("ignore::aajr.adversaries.MaskedGradientWarning")
@pytest.mark.parametrize("threat", ["others", "full", "actions"])
def test_every_attack_of_every_threat_plays_within_its_budget(threat):
    victim = make_victim(threat)
    for spec in THOROUGH.against(threat):
        adversary = spec.build(victim.ball(0.3), victim)
        on_logits = victim.on_logits or spec.on_logits
        source = torch.Generator().manual_seed(0)
        hiders = AttackedTeam(victim.actor, adversary, source, on_logits)
        outcome = contest(victim.match, hiders, spec.name, adversary.ball.epsilon)
        assert outcome.forward_passes >= 1
        assert spec.fixed or outcome.score.largest_perturbation <= 0.3 + 1e-5
        if spec.kind == "black_box":
            assert outcome.backward_passes == 0
        elif spec.kind == "gradient":
            assert outcome.backward_passes >= 1


def test_attacks_that_read_observations_are_left_out_of_the_actions_threat():
    names = {spec.name for spec in THOROUGH.against("actions")}
    assert {"noise", "pgd_mad", "square", "sparse"} <= names
    assert not names & {"value", "transfer", "dropped", "lying_teammates", "actions", "sa_rl"}


def test_a_fit_does_not_depend_on_what_was_fitted_before():
    first, second = make_victim(), make_victim()
    later = (first.robust_sarsa(0.1), first.critic(1))[1]
    assert torch.equal(later.network[0].weight, second.critic(1).network[0].weight)
    assert first.critic(1) is later
    assert set(first.preparation) == {"robust_sarsa_0.1_r2", "critic_1_r2"}
    assert not torch.equal(first.critic(0).network[0].weight, later.network[0].weight)


def test_the_least_action_is_the_critics_choice_of_each_head():
    victim = make_victim()
    x = torch.randn(5, FEATURES["hider"], generator=torch.Generator().manual_seed(0))
    target = victim.least_action(x)
    parts = torch.split(target, [11, 11, 2, 2], -1)
    chosen = torch.split(victim.actor(x), [11, 11, 2, 2], -1)
    greedy = [torch.nn.functional.one_hot(c.argmax(-1), c.shape[-1]).float() for c in chosen]
    for head, part in enumerate(parts):
        size = part.shape[-1]
        values = []
        for entry in range(size):
            row = torch.nn.functional.one_hot(torch.full((5,), entry), size).float()
            action = torch.cat([*greedy[:head], row, *greedy[head + 1 :]], -1)
            values.append(victim.critic(0)(x, action))
        assert torch.equal(part.argmax(-1), torch.stack(values, -1).argmin(-1))
        assert torch.equal(part.sum(-1), torch.full((5,), 10.0))


def test_the_worst_is_never_above_a_single_attack(subject):
    suite = small(STANDARD, "noise", "pgd_mad", "square", "sparse", "temporal", "dropped")
    found = subject(Examination(suite, epsilons=(0.0, 0.1, 0.4), episodes=EPISODES)).assessment()
    assert found.epsilons == (0.1, 0.4)
    for epsilon in found.epsilons:
        trials = found.at(epsilon)
        assert {t.score.attack for t in trials} == {a.name for a in suite.attacks}
        worst, in_ball = found.worst(epsilon), found.worst(epsilon, in_ball=True)
        assert all(worst.score.success <= t.score.success for t in trials)
        assert worst.score.success <= in_ball.score.success
        assert found.worst_per_episode(epsilon) <= worst.score.success
        assert found.curve()[epsilon] == in_ball.score.success
    assert found.curve()[0.0] == found.clean.score.success
    assert all(t.score.success == t.won.count("1") / EPISODES for t in found.trials)
    assert set(found.clean.coordination) == set(found.worst(0.4).coordination)


def test_a_stopped_run_goes_on_and_ends_as_the_other(subject, tmp_path):
    suite = small(QUICK)
    plan = Examination(suite, epsilons=(0.2,), episodes=EPISODES)

    def timeless(found: Assessment) -> list[Trial]:
        still = {"seconds": 0.0, "preparation_seconds": 0.0}
        return [dataclasses.replace(t, **still) for t in found.trials]

    whole = subject(plan).assessment()
    begun = subject(plan)
    moved = begun.directory.rename(tmp_path / "elsewhere")
    stopped = subject(plan)
    half = stopped.trials()
    for _ in range(3):
        next(half)
    assert len(list(stopped.directory.glob("*.json"))) == 3
    kept = {path: path.read_bytes() for path in stopped.directory.glob("*.json")}
    resumed = subject(plan).assessment()
    assert timeless(resumed) == timeless(whole)
    assert resumed.preparation == whole.preparation
    assert all(path.read_bytes() == text for path, text in kept.items())
    assert len(list(moved.glob("*.json"))) == len(plan.cells) == 5


def test_anything_that_changes_a_trial_changes_its_place(subject):
    plan = Examination(small(QUICK), epsilons=(0.2,), episodes=EPISODES)
    places = {
        subject(plan).directory,
        subject(plan, seed=2).directory,
        subject(dataclasses.replace(plan, seed=1)).directory,
        subject(dataclasses.replace(plan, episodes=9)).directory,
        subject(dataclasses.replace(plan, threat="full")).directory,
        subject(dataclasses.replace(plan, suite=small(STANDARD))).directory,
        subject(dataclasses.replace(plan, suite=dataclasses.replace(QUICK, version=9))).directory,
    }
    assert len(places) == 7
    assert subject(dataclasses.replace(plan, epsilons=(0.1,))).directory in places


def test_a_damaged_trial_is_named(subject):
    plan = Examination(small(QUICK, "noise"), epsilons=(0.2,), episodes=EPISODES)
    one = subject(plan)
    one.assessment()
    path = next(one.directory.glob("noise*.json"))
    path.write_text(path.read_text()[:60])
    with pytest.raises(ValueError, match=r"noise_0\.2\.json is not whole JSON .*remove it"):
        subject(plan).assessment()


def test_the_clean_trial_alone(subject):
    found = subject(Examination(small(STANDARD), epsilons=(0.0,), episodes=EPISODES)).assessment()
    assert [t.score.attack for t in found.trials] == ["none"]
    assert (found.epsilons, found.area) == ((), None)


def test_an_attack_that_never_arrives_stops_the_evaluation(subject):
    nothing = AttackSpec("noise", "noise", lambda ball, victim: noise(Ball("linf", 0.0), victim))
    plan = Examination(Suite("custom", 1, TINY, (nothing,)), epsilons=(0.2,), episodes=EPISODES)
    with pytest.raises(RuntimeError, match="must reach the policy"):
        subject(plan).assessment()


def test_worst_per_episode_by_hand():
    found = assessment(
        trial("noise", 0.1, "1110"),
        trial("critic_0", 0.1, "1011"),
        trial("dropped", 2.0, "0111", fixed=True),
    )
    assert found.worst_per_episode(0.1) == 0.25
    assert found.worst_per_episode(0.1, in_ball=True) == 0.5
    assert found.worst(0.1).score.success == 0.75
    assert found.area == pytest.approx(0.875)


def test_masked_gradients_are_found_from_the_gap_between_attacks():
    lost, kept = "0" * 20, "1" * 20
    masked = assessment(
        trial("pgd_mad", 0.1, kept),
        trial("critic_0", 0.1, "0" + "1" * 19),
        trial("square", 0.1, lost + "", kind="black_box"),
        clean=kept,
    )
    assert masked.findings() == (
        "square beats every gradient attack at ε = 0.1: gradients may be masked",
    )
    honest = assessment(
        trial("pgd_mad", 0.1, kept),
        trial("critic_0", 0.1, lost),
        trial("square", 0.1, lost, kind="black_box"),
        clean=kept,
    )
    assert honest.findings() == ()
    slight = assessment(
        trial("pgd_mad", 0.1, kept),
        trial("square", 0.1, "0" + "1" * 19, kind="black_box"),
        clean=kept,
    )
    assert slight.findings() == ()


def test_zero_gradients_are_a_finding(subject, monkeypatch):
    class Flat(torch.nn.Module):
        """Its output has steps, so that its gradient is zero."""

        def __init__(self, actor):
            super().__init__()
            self.actor, self.head, self.features = actor, actor.head, actor.features
            self.unit, self.value = actor.unit, actor.value

        def forward(self, x):
            return self.actor(x.round(decimals=1)) + 0 * x.sum(-1, keepdim=True)

    specs = (
        AttackSpec("pgd_mad", "gradient", pgd_mad),
        AttackSpec("square", "black_box", square),
    )
    plan = Examination(Suite("custom", 1, TINY, specs), epsilons=(0.2,), episodes=EPISODES)
    one = subject(plan)
    flat = Flat(one.victim.actor)
    object.__setattr__(one.victim, "actor", flat)
    found = one.assessment()
    assert found.findings()[0] == "pgd_mad at 0.2 saw zero gradients only"
    assert [t.zero_gradients for t in found.trials] == [False, True, False]


def test_an_evaluation_survives_its_file(subject, league, tmp_path):
    plan = Examination(small(STANDARD, "noise", "dropped"), epsilons=(0.1,), episodes=EPISODES)
    found = evaluation_of(plan, league, [subject(plan).assessment()])
    path = tmp_path / "out/evaluation.json"
    write_evaluation(found, path, {"any": 1})
    assert read_evaluation(path) == found
    facts = json.loads(path.read_text())
    assert (facts["suite"]["name"], facts["suite"]["version"]) == ("standard", STANDARD.version)
    assert "arena" in facts["unit"]
    (worst,) = facts["worst"]
    assert worst["epsilons"][0]["worst"] <= worst["epsilons"][0]["worst_in_ball"]
    path.write_text(path.read_text()[:-30])
    with pytest.raises(ValueError, match=r"not whole JSON .*evaluate again"):
        read_evaluation(path)
    path.write_text(json.dumps(facts | {"schema_version": 9}))
    with pytest.raises(ValueError, match=r"schema_version=9: .*evaluate again"):
        read_evaluation(path)


def evaluation(*parts: Assessment) -> Evaluation:
    return Evaluation(
        suite=QUICK.facts(),
        threat="others",
        unit="u",
        episodes=4,
        seed=0,
        opponents=("league",),
        assessments=parts,
    )


def test_summaries_by_hand():
    rows = {"a": ("1110", "1100", "1111", "1000"), "b": ("0000", "1000", "0000", "0000")}
    parts = [
        assessment(trial("noise", 0.2, won), method=name, seed=seed)
        for name, column in rows.items()
        for seed, won in enumerate(column)
    ]
    first, second = method_summaries(evaluation(*parts))
    assert (first.method, first.clean.estimate, first.clean.seeds) == ("a", 1.0, 4)
    assert first.worst[0.2].estimate == pytest.approx((0.75 + 0.5) / 2)
    assert (first.median[0.2], first.median_seed[0.2]) == (0.5, 1)
    assert first.area.estimate == pytest.approx((0.875 + 0.75) / 2)
    assert [p.estimate for p in second.profile[:6]] == [0.25] * 5 + [0.0]
    pairs = {one.figure: one for one in comparisons(evaluation(*parts))}
    assert list(pairs) == ["clean", "worst at ε = 0.2", "area"]
    assert pairs["clean"].verdict == "not separated"
    worst = pairs["worst at ε = 0.2"]
    assert worst.difference.estimate == pytest.approx(0.5625)
    assert worst.verdict == "higher"
    assert worst.improvement.estimate == pytest.approx(15.5 / 16)
    assert worst.chance == 0.125


def test_the_tables_hold_what_was_measured():
    trials = [trial("noise", e, won) for e, won in ((0.1, "1110"), (0.2, "1100"))]
    parts = [assessment(*trials, trial("dropped", 0.0, "0111", fixed=True))]
    found = evaluation(*parts)
    table = attack_table(parts[0], found)
    assert table.columns == ("attack", "ε = 0.1", "ε = 0.2", "passes")
    assert [row[0] for row in table.rows] == [
        "none",
        "noise",
        "dropped\n0 ε",
        "worst over the suite",
        "worst in the ball",
        "won under every attack",
    ]
    assert table.rows[1] == ("noise", "75.0%\n0.00", "50.0%\n0.00", "1 / 0\n0.0 s")
    assert table.rows[3][1:3] == ("75.0%\nnoise", "50.0%\nnoise")
    assert table.rows[5][1:] == ("50.0%", "25.0%", "")
    assert table.rules == (1, 3)
    summaries = method_summaries(found)
    assert method_table(summaries).rows == (
        ("plain", "1", "100.0%", "75.0%\nmedian 75.0%", "50.0%\nmedian 50.0%", "75.0%"),
    )


def test_one_seed_has_no_interval_and_no_verdict():
    parts = [assessment(trial("noise", 0.2, w), method=w) for w in ("1111", "0000")]
    assert method_summaries(evaluation(*parts))[0].worst[0.2].low is None
    assert {one.verdict for one in comparisons(evaluation(*parts))} == {"not separated"}


def test_two_policies_of_one_method_and_seed_are_refused(league):
    plan = Examination(QUICK, epsilons=(0.2,))
    twin = dataclasses.replace(assessment(trial("noise", 0.2, "1111")), checkpoint="other")
    with pytest.raises(ValueError, match="both 'plain' with seed 0"):
        evaluation_of(plan, league, [assessment(trial("noise", 0.2, "1111")), twin])


def test_policies_that_see_in_different_units_are_not_compared(league):
    plan = Examination(QUICK, epsilons=(0.2,))
    own = assessment(trial("noise", 0.2, "1111"))
    trials = tuple(dataclasses.replace(one, unit="normalised") for one in own.trials)
    other = dataclasses.replace(own, trials=trials, seed=1)
    assert evaluation_of(plan, league, [own]).unit == "ε"
    with pytest.raises(ValueError, match="means 'ε' for some policies and 'normalised' for others"):
        evaluation_of(plan, league, [own, other])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: suite_of("best"), "suite='best'"),
        (lambda: Suite("s", 1, TINY, (QUICK.attacks[0],) * 2), "a name of its own"),
        (lambda: Examination(QUICK, epsilons=(-0.1,)), "epsilon=-0.1"),
        (lambda: Examination(QUICK, epsilons=(float("nan"),)), "epsilon=nan"),
        (lambda: Examination(QUICK, epsilons=(0.1, 0.1)), "repeats"),
        (lambda: Examination(QUICK, threat="all"), "threat='all'"),
        (lambda: Examination(QUICK, episodes=0), "episodes=0"),
        (lambda: Effort(steps=0), "steps=0"),
        (lambda: Effort(critic_episodes=4), "critic_episodes=4"),
        (lambda: make_victim("all"), "threat='all'"),
        (lambda: dataclasses.replace(make_victim(), actor=random_actor(0, 5)), "reads 5 features"),
        (lambda: assessment(trial("noise", 0.1, "11")).at(0.3), "epsilon=0.3"),
        (lambda: trial("noise", 0.1, "12"), "won"),
        (lambda: assessment(trial("a", 0.1, "1"), trial("a", 0.1, "1")), "each attack"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
