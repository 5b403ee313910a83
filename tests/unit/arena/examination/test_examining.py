"""The examination of any agent: known answers, reports and their files, bad input."""

import dataclasses
import itertools
import json
from typing import ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from aajr import Ball
from aajr.arena import Agent, GymnasiumEnvironment, Report, examine
from aajr.arena.attacks import builders as build
from aajr.arena.attacks.agent_suites import AGENT_QUICK, AGENT_STANDARD
from aajr.arena.attacks.steering import steered
from aajr.arena.attacks.suites import AttackSpec, Suite
from aajr.arena.environments.sources import WithSources
from aajr.arena.settings import Effort
from aajr.arena.spaces.heads import CategoricalHead, DeterministicHead

TINY = Effort(
    steps=3,
    restarts=1,
    queries=20,
    generations=1,
    critic_episodes=10,
    critic_updates=50,
    attacker_iterations=1,
    attacker_environments=4,
    director_draws=2,
    director_episodes=2,
)
SUITE = dataclasses.replace(AGENT_QUICK, effort=TINY)
NOISE = dataclasses.replace(SUITE, attacks=SUITE.attacks[:1])
WHOLE = dataclasses.replace(AGENT_STANDARD, effort=TINY)


class Constant(nn.Module):
    """Always the same outputs, with a gradient of zero."""

    def forward(self, x):
        return 0.0 * x[..., :2] + torch.tensor([0.0, 1.0])


def balancer(**settings) -> Agent:
    network = nn.Linear(4, 2, bias=False).requires_grad_(False)
    network.weight.copy_(torch.tensor([[0.0, 0.0, -1.0, -1.0], [0.0, 0.0, 1.0, 1.0]]))
    return Agent(network, CategoricalHead((2,)), 4, "raw", source="balancer", **settings)


def constant() -> Agent:
    return Agent(Constant(), CategoricalHead((2,)), 4, "raw")


def cartpole(limit: int = 80) -> GymnasiumEnvironment:
    return GymnasiumEnvironment("CartPole-v1", 1, 0, limit=limit)


def examined(agent, ball=None, suite=SUITE, episodes=4, **settings) -> Report:
    return examine(
        agent, cartpole(), ball or Ball("linf", 0.6), suite, episodes=episodes, **settings
    )


@pytest.fixture(scope="module")
def report():
    return examined(balancer())


class Line(gymnasium.Env):
    """A place that stays; the reward is minus the size of the action."""

    metadata: ClassVar = {"render_modes": ["rgb_array"]}
    observation_space = spaces.Box(-10, 10, (2,), np.float32)
    action_space = spaces.Box(-3, 3, (1,), np.float32)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def render(self):
        return np.full((8, 8, 3), 100, np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.uniform(-0.1, 0.1, 2).astype(np.float32)
        return self.place, {}

    def step(self, action):
        return self.place, -abs(float(action[0])), False, False, {}


WEIGHTS = torch.tensor([[1.0, -0.5]])
MAD = Suite(
    "mad",
    1,
    dataclasses.replace(TINY, steps=10),
    (AttackSpec("pgd_mad", "gradient", build.pgd_mad),),
)


def linear() -> Agent:
    network = nn.Linear(2, 1, bias=False).requires_grad_(False)
    network.weight.copy_(WEIGHTS)
    head = DeterministicHead(torch.tensor([-3.0]), torch.tensor([3.0]))
    return Agent(network, head, 2, "raw")


@pytest.mark.parametrize(
    ("ball", "reach"),
    [
        (Ball("linf", 0.4), 0.4 * 1.5),
        (Ball("l2", 0.4), 0.4 * 1.25**0.5),
        (Ball("linf", 0.4, mask=torch.tensor([True, False])), 0.4),
        (Ball("linf", 0.4, scale=torch.tensor([1.0, 3.0])), 0.4 * 2.5),
    ],
    ids=["linf", "l2", "mask", "scale"],
)
def test_against_a_linear_policy_mad_has_a_closed_form(ball, reach):
    """It moves a = w·x by ±ε‖w‖ in the dual norm, here at every step of a place that stays."""
    environment = GymnasiumEnvironment(Line, 8, 1, limit=3)
    report = examine(linear(), environment, ball, MAD, episodes=8, epsilons=())
    (trial,) = report.trials("pgd_mad", 0.4)
    starts = environment.resized(8, 0).reset().observation[:, 0]
    clean = (starts @ WEIGHTS.T)[:, 0]
    for found, a in zip(trial.returns, clean.tolist(), strict=True):
        moves = [-(abs(a + reach)), -(abs(a - reach))]
        sums = [sum(c) for c in itertools.combinations_with_replacement(moves, 3)]
        assert min(abs(found - total) for total in sums) < 0.02 * 3 * reach
        assert found > min(sums) - 1e-5
    assert report.worst.attack == "pgd_mad"


def test_the_steered_attack_keeps_the_director_of_least_return():
    """Pushing the action the way it points already is worst here: its sign is that of a feature."""
    network = nn.Linear(2, 1, bias=False).requires_grad_(False)
    network.weight.copy_(torch.tensor([[1.0, 0.0]]))
    head = DeterministicHead(torch.tensor([-3.0]), torch.tensor([3.0]))
    suite = Suite("steered", 1, TINY, (AttackSpec("steered", "gradient", steered),))
    environment = GymnasiumEnvironment(Line, 1, 0, limit=3)
    agent = Agent(network, head, 2, "raw")
    report = examine(agent, environment, Ball("linf", 0.05), suite, episodes=8, epsilons=())
    clean, attacked = (report.trials(*c)[0].returns for c in (("none", 0.0), ("steered", 0.05)))
    assert np.allclose(np.subtract(clean, attacked), 3 * 0.05, atol=1e-3)


class Reports(Line):
    """Three reports of 2; the reward is minus the size of the action."""

    observation_space = spaces.Box(-10, 10, (3,), np.float32)
    action_space = spaces.Box(-9, 9, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = np.full(3, 2.0, np.float32)
        return self.place, {}


def test_where_sources_may_lie_only_k_of_them_do():
    """The action is the weighted sum of three reports; the worst liar has the greatest weight."""
    network = nn.Linear(3, 1, bias=False).requires_grad_(False)
    network.weight.copy_(torch.tensor([[1.0, 2.0, 1.0]]))
    head = DeterministicHead(torch.tensor([-9.0]), torch.tensor([9.0]))
    agent = Agent(network, head, 3, "raw")
    place = GymnasiumEnvironment(Reports, 1, 0, limit=1)
    environment = WithSources(place, ["[0]", "[1]", "[2]"], liars=1)
    report = examine(agent, environment, Ball("linf", 0.5), SUITE, episodes=4, epsilons=())
    assert report.attacks == ("liars_noise", "liars_mad", "liars_critic_0", "liars_square")
    assert not report.left_out
    (trial,) = report.trials("liars_mad", 0.5)
    assert np.allclose(np.abs(np.add(trial.returns, 8.0)), 1.0)
    assert not report.wins
    with pytest.raises(ValueError, match="no attack of the suite"):
        examine(agent, environment, Ball("l2", 0.5), SUITE, episodes=4)


def test_a_policy_that_ignores_its_input_is_untouched():
    report = examined(constant(), suite=WHOLE, epsilons=())
    clean = report.trials("none", 0.0)[0].returns
    for trial in report.agents[0].assessment.trials:
        assert trial.returns == clean, trial.score.attack
        assert trial.score.changed_actions == 0
    assert report.worst.attack == "none"
    assert report.worst.mean_return == report.clean
    assert report.findings[0].startswith("No attack of this suite lowered the return")
    assert any("rs_mad" in name for name in report.agents[0].failures)
    assert any("rs_mad" in sentence for sentence in report.findings)
    assert not next(c for c in report.agents[0].checks if c.name == "reach").held


def test_without_a_path_for_gradients_their_attacks_are_left_out():
    class Detached(Constant):
        def forward(self, x):
            return super().forward(x.detach())

    agent = Agent(Detached(), CategoricalHead((2,)), 4, "raw")
    report = examined(agent)
    assert report.attacks == ("noise", "square")
    assert set(report.left_out) == {"pgd_mad", "critic_0", "value"}
    assert not report.agents[0].failures
    assert "more queries" in {check.name for check in report.agents[0].checks}


def test_a_policy_at_random_earns_what_random_actions_earn():
    """Its actions are a hash of the observation, so that no attack makes them worse than chance."""

    class Hash(nn.Module):
        def forward(self, x):
            noise = (x.sum(-1, keepdim=True) * 1e4).sin()
            return torch.cat([noise, -noise], -1)

    report = examined(Agent(Hash(), CategoricalHead((2,)), 4, "raw"), episodes=40, epsilons=())
    floor = report.random_return
    assert floor is not None
    for trial in report.agents[0].assessment.trials:
        if trial.kind in ("none", "noise"):
            assert abs(np.mean(trial.returns) - floor) < 0.35 * floor


def test_the_report_holds_the_figures_of_its_trials(report):
    assert report.epsilons == (0.15, 0.3, 0.6)
    assert report.attacks == tuple(spec.name for spec in SUITE.against("full"))
    worst = min((np.mean(t.returns), t.score.attack) for t in report.agents[0].assessment.trials)
    assert (report.worst.mean_return.estimate, report.worst.attack) == worst
    assert report.clean.estimate == np.mean(report.trials("none", 0.0)[0].returns)
    low, high = report.clean.low, report.clean.high
    assert low <= report.clean.estimate <= high
    assert report.success("none", 0.0) == 0.0
    assert report.threshold == 475.0
    assert report.unit == "L∞, raw"
    assert all(len(t.returns) == 4 for t in report.agents[0].assessment.trials)


def test_a_smaller_radius_stays_in_the_larger_ball(report):
    within = [report.worst_within(epsilon).mean_return.estimate for epsilon in report.epsilons]
    assert within == sorted(within, reverse=True)


def test_every_check_is_in_the_report(report):
    checks = {check.name: check.held for check in report.agents[0].checks}
    assert list(checks) == [
        "the ball",
        "reach",
        "noise",
        "the size of ε",
        "more steps",
        "gradients",
        "the seed",
    ]
    assert checks["the ball"]
    assert checks["reach"]
    assert checks["the seed"]
    assert len(report.agents[0].random_returns) == 4


def test_the_table_has_a_row_for_every_attack(report):
    table = report.table()
    names = ["none", *report.attacks, "worst within ε"]
    assert [row[0] for row in table.rows] == names
    assert "agent-quick version 1" in table.notes[0]
    text = str(report)
    assert all(name in text for name in names)
    assert report.findings[0].split()[0] in text


def test_a_report_survives_its_file(report, tmp_path):
    path = report.save(tmp_path / "deep" / "report.json")
    assert Report.read(path) == report
    facts = json.loads(path.read_text())
    assert facts["worst"]["attack"] == report.worst.attack
    assert facts["findings"] == list(report.findings)


def test_the_same_seed_gives_the_same_figures(report):
    again = examined(balancer(), epsilons=())
    for trial in again.agents[0].assessment.trials:
        (one,) = report.trials(trial.score.attack, trial.score.epsilon)
        assert one.score == trial.score
        assert one.returns == trial.returns
    assert report.agents[0].checks[-3:] == again.agents[0].checks[-3:]
    other = examined(balancer(), suite=NOISE, epsilons=(), seed=1)
    assert other.trials("noise", 0.6)[0].returns != report.trials("noise", 0.6)[0].returns


def test_a_stopped_examination_continues_with_its_files(tmp_path):
    class StopError(Exception):
        pass

    def stop(done, parts, words):
        assert parts == 1 + 3 + 1
        if done == 2:
            raise StopError

    with pytest.raises(StopError):
        examined(balancer(), suite=NOISE, directory=tmp_path, progress=stop)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")}
    assert len(times) == 2
    whole = examined(balancer(), suite=NOISE, directory=tmp_path)
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert len([*tmp_path.rglob("*.json")]) == 5
    at_once = examined(balancer(), suite=NOISE)
    assert whole.agents[0].checks == at_once.agents[0].checks
    for one, other in zip(*(r.agents[0].assessment.trials for r in (whole, at_once)), strict=True):
        assert one.returns == other.returns


def test_another_agent_or_sight_has_other_files(tmp_path):
    class Box(nn.Module):
        """Weights that no state dict shows."""

        def __init__(self, weight):
            super().__init__()
            self.weight = [weight]

        def forward(self, x):
            return self.weight[0] * x[..., 2:4] * torch.tensor([-1.0, 1.0])

    for weight in (1.0, 2.0):
        examined(
            Agent(Box(weight), CategoricalHead((2,)), 4, "raw"), suite=NOISE, directory=tmp_path
        )
    assert len([*tmp_path.iterdir()]) == 2
    agent = Agent(
        Box(1.0), CategoricalHead((2,)), 4, "raw", sight=lambda raw: 2 * torch.tensor(raw)
    )
    examine(agent, "CartPole-v1", Ball("linf", 0.6), NOISE, episodes=4, directory=tmp_path)
    assert len([*tmp_path.iterdir()]) == 3


def test_several_agents_have_intervals_over_agents():
    agents = [balancer(), balancer(), constant()]
    report = examined(agents, episodes=3, epsilons=())
    means = [np.mean(t.returns) for t in report.trials("none", 0.0)]
    assert report.clean.seeds == 3
    assert report.clean.estimate == pytest.approx(np.mean(means))
    assert min(means) <= report.clean.low <= report.clean.high <= max(means)
    assert "3 agents, 3 episodes each" in report.table().notes[0]


def test_an_attack_that_stops_is_named_and_the_others_are_kept():
    class Fragile(nn.Module):
        """Refuses any input that noise has touched."""

        def forward(self, x):
            if x.abs().max() > 5:
                raise OSError("the sensor is broken")
            return balancer().network(x)

    agent = Agent(Fragile(), CategoricalHead((2,)), 4, "raw")
    report = examined(agent, Ball("linf", 20.0), epsilons=[0.01])
    failures = report.agents[0].failures
    assert failures["noise at ε = 20"] == "OSError: the sensor is broken"
    assert "noise at ε = 0.01" not in failures
    assert report.trials("noise", 0.01)
    with pytest.raises(ValueError, match="was not run"):
        report.trials("noise", 20.0)
    assert "–" in next(row for row in report.table().rows if row[0] == "noise")


def test_a_large_radius_is_noticed():
    report = examined(balancer(), Ball("linf", 50.0), suite=MAD, epsilons=())
    check = next(c for c in report.agents[0].checks if c.name == "the size of ε")
    assert not check.held
    assert "ε = 50 exceeds the standard deviation of 4 of 4" in check.words
    assert any(check.words in sentence for sentence in report.findings)


class Outputs(nn.Module):
    def __init__(self, value, count=2):
        super().__init__()
        self.value, self.count = value, count

    def forward(self, x):
        return torch.full((len(x), self.count), self.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: examined([]), "agent is empty"),
        (lambda: examined(balancer(), episodes=0), "episodes=0"),
        (lambda: examined(balancer(), Ball("linf", 0.0)), "epsilon=0"),
        (lambda: examined(balancer(), suite="huge"), "suite='huge'"),
        (lambda: examined(balancer(), epsilons=[-1.0]), "epsilon=-1"),
        (lambda: examined(linear()), "reads 2 features, the environment shows 4"),
        (
            lambda: examined(Agent(nn.Linear(4, 3), CategoricalHead((3,)), 4, "raw")),
            "the environment's actions are Discrete",
        ),
        (
            lambda: examined(Agent(Outputs(0.0, 5), CategoricalHead((2,)), 4, "raw")),
            r"outputs of shape \(2, 5\)",
        ),
        (
            lambda: examined(Agent(Outputs(float("nan")), CategoricalHead((2,)), 4, "raw")),
            "NaN or infinity",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_path_needs_an_ending_that_is_known(report, tmp_path):
    with pytest.raises(ValueError, match=r"report\.txt"):
        report.save(tmp_path / "report.txt")


def test_an_agent_that_answers_nan_in_mid_episode_is_named():
    class Broken(nn.Module):
        def forward(self, x):
            outputs = balancer().network(x)
            return torch.where(x.abs().amax(-1, keepdim=True) > 0.3, float("nan"), outputs)

    agent = Agent(Broken(), CategoricalHead((2,)), 4, "raw")
    with pytest.raises(ValueError, match="returned NaN in"):
        examined(agent, Ball("linf", 0.3), epsilons=())


def test_only_the_trials_in_which_an_agent_answers_nan_are_lost():
    class Broken(nn.Module):
        def forward(self, x):
            outputs = balancer().network(x)
            return torch.where(x.abs().amax(-1, keepdim=True) > 7, float("nan"), outputs)

    agent = Agent(Broken(), CategoricalHead((2,)), 4, "raw")
    report = examined(agent, Ball("linf", 9.0), epsilons=[0.1])
    assert "returned NaN in" in report.agents[0].failures["noise at ε = 9"]
    assert report.trials("noise", 0.1)


def filmed(made, **settings) -> Report:
    environment = GymnasiumEnvironment(made, 1, 0, limit=3)
    ball = Ball("linf", 0.4)
    return examine(linear(), environment, ball, MAD, episodes=4, epsilons=(), film=True, **settings)


def test_the_film_shows_the_worst_case_and_is_kept(tmp_path, monkeypatch):
    said = []
    report = filmed(Line, directory=tmp_path, progress=lambda *words: said.append(words))
    assert report.film.startswith("data:image/gif;base64,")
    assert said[-1] == (3, 4, "Linear: film of the worst case")
    page = report.save(tmp_path / "page.html").read_text(encoding="utf-8")
    assert report.film in page
    assert "without an attack on the left" in page
    monkeypatch.setattr("aajr.arena.examination._runs.film", None)
    assert filmed(Line, directory=tmp_path).film == report.film


def test_without_images_the_film_is_traces():
    report = filmed(lambda: Line())
    assert report.film.startswith("data:image/png;base64,")


def test_a_film_that_fails_is_named_and_the_report_is_kept(monkeypatch):
    def broken(*arguments):
        raise OSError("no projector")

    monkeypatch.setattr("aajr.arena.examination._runs.film", broken)
    report = filmed(Line)
    assert report.film == ""
    assert report.left_out["the film"] == "stopped: OSError: no projector"
    assert examined(constant(), suite=NOISE, film=True).left_out["the film"].startswith("shows")
