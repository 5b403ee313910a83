"""Attacks under the threat ``reports``: k of n sources, who they are, and how far they go."""

import dataclasses

import pytest
import torch

from aajr.arena.attacks.suites import QUICK, STANDARD, THOROUGH
from aajr.arena.attacks.victim import Victim
from aajr.arena.environments.episodes import AttackedTeam, contest
from aajr.arena.settings import Effort
from aajr.geometry import Categorical
from aajr.hide_and_seek.game import RADIO_GAME, HideAndSeekConfig
from aajr.hide_and_seek.game.actors import team_actor
from aajr.hide_and_seek.game.chasers import Chasers
from aajr.hide_and_seek.game.items import reporting_sources
from aajr.hide_and_seek.game.matches import Match

GAME = dataclasses.replace(RADIO_GAME, max_steps=6)
TINY = Effort(
    steps=2,
    restarts=1,
    queries=8,
    critic_episodes=12,
    attacker_iterations=1,
    attacker_environments=8,
)
SOURCES = reporting_sources(GAME)


@pytest.fixture(scope="module")
def victim():
    actor = team_actor(len(SOURCES), hidden=(16,), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        actor.network[-1].weight.mul_(100)
    match = Match(GAME, [Chasers(GAME)], episodes=6, seed=4)
    return Victim(actor.requires_grad_(False), match, "reports", TINY)


class Watched(AttackedTeam):
    """An attacked team that keeps the lies it was told at every step."""

    def _attack(self, *arguments):
        found = super()._attack(*arguments)
        self.lies.append(found.worst - found.origin)
        return found


def lies_of(victim: Victim, name: str, epsilon: float = 0.5) -> torch.Tensor:
    """``[steps, rows, sources, 2]``; no other feature is touched."""
    spec = {spec.name: spec for spec in THOROUGH.attacks}[name]
    adversary = spec.build(victim.ball(epsilon), victim)
    team = Watched(victim.actor, adversary, torch.Generator().manual_seed(1))
    team.lies = []
    contest(victim.match, team, name, adversary.ball.epsilon)
    lie = torch.stack(team.lies)
    assert not bool(lie[..., SOURCES < 0].any())
    return lie[..., SOURCES >= 0].unflatten(-1, (5, 2))


def test_lies_have_suites_of_their_own_and_other_threats_keep_theirs():
    quick = [spec.name for spec in QUICK.against("reports")]
    assert quick == ["liars_noise", "liars_mad", "liars_critic_0", "other_side"]
    assert {spec.name for spec in STANDARD.against("reports")} >= {*quick, "drift", "any_lie"}
    assert [s.name for s in QUICK.against("others")] == ["noise", "pgd_mad", "critic_0", "square"]
    for threat in ("full", "others", "actions"):
        assert not set(NAMES) & {spec.name for spec in THOROUGH.against(threat)}


NAMES = [spec.name for spec in THOROUGH.against("reports")]


@pytest.mark.parametrize("name", NAMES)
def test_at_most_two_of_five_sources_lie_at_a_time(name, victim):
    lie = lies_of(victim, name)
    lying = (lie.abs() > 1e-6).any(-1)
    assert int(lying.sum(-1).max()) == 2
    assert bool((lie.abs() <= (4.0 if name == "any_lie" else 0.5) + 1e-5).all())


def test_who_lies_changes_from_step_to_step_or_stays(victim):
    def stays(name):
        lying = (lies_of(victim, name).abs() > 1e-6).any(-1)
        return bool((lying.any(0).sum(-1) <= 2).all())

    assert stays("liars_fixed")
    assert stays("drift")
    assert stays("liars_pa_ad_fixed")
    assert not stays("liars_random")
    assert not stays("liars_critic_0")


def test_drifting_lies_grow_slowly(victim):
    lie = lies_of(victim, "drift")
    change = torch.cat([lie[:1], lie[1:] - lie[:-1]])
    assert float(change.abs().max()) <= 0.5 / 16 + 1e-5
    assert float(lie.abs().max()) > 2 * 0.5 / 16


def test_any_lie_goes_to_the_ends_of_the_arena(victim):
    """No report is moved beyond a distance that the arena has, unless noise put it there."""
    lie = lies_of(victim, "any_lie")
    assert 2.0 < float(lie.abs().max()) <= 4.0


def test_the_other_side_is_led_to_the_choice_at_mirrored_reports(victim):
    spec = {spec.name: spec for spec in QUICK.attacks}["other_side"]
    x = victim.match.reset().observation.flatten(0, 1)
    found = spec.build(victim.ball(1.0), victim)(victim.actor, x, torch.Generator().manual_seed(0))
    mirrored = torch.where(SOURCES >= 0, -x, x)
    apart = Categorical(victim.actor.heads).divergence
    target = victim.actor(mirrored)
    before, after = (apart(target, victim.actor(view)) for view in (x, found.worst))
    assert bool((after < before).float().mean() > 0.9)


def test_a_game_without_a_radio_has_no_liars():
    game = HideAndSeekConfig(n_hiders=2, n_seekers=1)
    match = Match(game, [team_actor(1)], episodes=1, seed=0)
    assert match.liars == 0
    with pytest.raises(ValueError, match="radio=None has no sources"):
        _ = match.sources
