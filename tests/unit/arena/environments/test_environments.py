"""The suites attack agents of any environment that keeps the protocol."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from aajr.arena.agents.actors import Actor
from aajr.arena.attacks.suites import STANDARD, THOROUGH
from aajr.arena.attacks.victim import Victim
from aajr.arena.environments.episodes import AttackedTeam, play
from aajr.arena.examination.trials import attacked_match
from aajr.arena.settings import Effort

EFFORT = Effort(steps=3, restarts=1, queries=8, critic_episodes=16)


@dataclasses.dataclass(frozen=True)
class Played:
    won: Tensor
    observation: Tensor
    action: Tensor
    reward: Tensor

    @property
    def played(self):
        return torch.ones(self.reward.shape[:2], dtype=torch.bool)


@dataclasses.dataclass(frozen=True)
class Signs:
    """Each of two agents is paid for naming the sign of its first feature; of six, two count."""

    episodes: int
    seed: int
    features = 6
    agents = 2
    steps = 3
    opponents = ()
    facts = {"game": "signs"}  # noqa: RUF012
    items = torch.tensor([0, 0, 1, 1, -1, -1])

    def attackable(self, threat):
        return torch.tensor([True] * 4 + [threat == "full"] * 2)

    def told(self, liars):
        return self.attackable("others").expand(self.agents, -1)

    def resized(self, episodes, seed):
        return Signs(episodes, seed)

    def reset(self):
        return RunningSigns(self)


class RunningSigns:
    def __init__(self, signs: Signs) -> None:
        source = torch.Generator().manual_seed(signs.seed)
        shape = (signs.steps, signs.episodes, signs.agents, signs.features)
        self.views = torch.randn(shape, generator=source)
        self.actions: list[Tensor] = []

    @property
    def observation(self):
        return self.views[len(self.actions)]

    @property
    def running(self):
        return torch.arange(self.views.shape[1] if len(self.actions) < len(self.views) else 0)

    def step(self, action):
        self.actions.append(action)

    def record(self):
        views, actions = self.views.transpose(0, 1), torch.stack(self.actions, 1)
        right = (views[..., 0] > 0).long() == actions[..., 0]
        return Played(right.flatten(1).float().mean(1) > 0.6, views, actions, right.float())


@pytest.fixture
def victim():
    actor = Actor(6, heads=(2,), hidden=()).requires_grad_(False)
    actor.network[0].weight.copy_(torch.tensor([[-1.0, 0, 0, 0, 0, 0], [1.0, 0, 0, 0, 0, 0]]))
    return Victim(actor, Signs(64, 5), "others", EFFORT)


def test_a_perfect_agent_wins_and_its_attacker_knows_the_way(victim):
    clean = attacked_match(victim)
    assert clean.score.success == 1.0
    assert clean.score.mean_return == 3.0
    specs = {spec.name: spec for spec in STANDARD.attacks}
    views = play(victim.match, lambda x, _: x[..., :1].long()).observation[..., 0]
    # only a view within ε of zero can be turned round
    bound = 3 - float((views.abs() <= 1).float().sum(1).mean())
    for name in ("noise", "pgd_mad", "critic_0", "square", "transfer", "sparse"):
        adversary = specs[name].build(victim.ball(1.0), victim)
        found = attacked_match(victim, specs[name], adversary).score
        assert bound <= found.mean_return < 3, name


@pytest.mark.parametrize("kind", ["sa_rl", "pa_ad"])
def test_a_learned_attacker_nearly_reaches_the_bound(victim, kind):
    """The best attack turns round every view within ε of zero, and no other can be."""
    views = play(victim.match, lambda x, _: x[..., :1].long()).observation[..., 0]
    bound = 3 - float((views.abs() <= 1).float().sum(1).mean())
    spec = next(spec for spec in THOROUGH.attacks if spec.name == kind)
    adversary = spec.build(victim.ball(1.0), victim)
    assert bound <= attacked_match(victim, spec, adversary).score.mean_return < bound + 0.2


def test_a_clean_team_plays_its_own_actions(victim):
    team = AttackedTeam(victim.actor, None, torch.Generator())
    assert bool(play(victim.match, team).won.all())
