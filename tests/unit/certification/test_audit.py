"""The audit: measured ≤ true ≤ certified, and no number that flatters the policy."""

from __future__ import annotations

import json
import math
import warnings

import pytest
import torch
from torch import Tensor, nn

from aajr import Ball, Critic, MaskedGradientWarning
from aajr._errors import ContractError
from aajr.arena.agents.actors import Actor
from aajr.certification import AuditBudget, EpsilonUnitWarning, audit, certified_radius
from aajr.certification import _certificates as certificates
from aajr.certification._quantities import find
from aajr.theory import membership, network_constants
from tests.unit.certification.networks import linear, network, orthogonal_chain

FAST = AuditBudget(steps=10, restarts=8, queries=120, random_directions=4, radius_steps=6)


class Quantised(nn.Module):
    """Rounds its input, as a sensor does: sensitive, without a gradient."""

    def __init__(self, inner: nn.Module, levels: int = 10) -> None:
        super().__init__()
        self.inner, self.levels = inner, levels

    def forward(self, x: Tensor) -> Tensor:
        return self.inner((self.levels * x).round() / self.levels)


class Detached(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 3 * x.detach()


class Misleading(torch.autograd.Function):
    """Computes 3x and claims the gradient of something else."""

    @staticmethod
    def forward(ctx, x):
        return 3 * x

    @staticmethod
    def backward(ctx, gradient):
        return gradient * torch.tensor([1.0, -1.0, 0.01])


def states(rows: int = 24, features: int = 3) -> Tensor:
    return torch.randn(rows, features, generator=torch.Generator().manual_seed(0))


def values(found, name: str) -> Tensor:
    return torch.tensor(find(found.quantities, name).values, dtype=torch.float64)


def share(found, name: str):
    return next(item for item in found.shares if item.name == name)


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("constant", [0.5, 4.0])
def test_measured_true_and_certified_keep_their_order(norm, constant):
    epsilon, x = 0.3, states(features=4)
    found = audit(orthogonal_chain(constant), x, Ball(norm, epsilon), budget=FAST)
    spectral, aligned, random = (
        values(found, f"sensitivity_{name}") for name in ("spectral", "aligned", "random")
    )
    lipschitz = values(found, "lipschitz").item()
    slack = 1 + 1e-9
    for measured in (random, aligned, spectral):
        assert (measured <= constant * slack).all()
    assert constant <= lipschitz <= constant * (1 + 1e-8)
    true = constant * epsilon * (1.0 if norm == "l2" else 2.0)  # √4 for a corner
    assert (values(found, "change_found") <= true * slack).all()
    assert (values(found, "change_found") >= 0.99 * true).all()
    assert (values(found, "change_certified") >= true).all()
    assert (values(found, "change_certified") <= true * (1 + 1e-8)).all()
    assert (values(found, "change_random") < values(found, "change_found")).all()
    assert all(found.checks.values())


def test_an_unsound_bound_fails_the_audit(monkeypatch):
    monkeypatch.setattr(certificates, "chain_lipschitz", lambda *_: 0.1)
    with pytest.raises(ContractError, match=r"failed checks: .*found_below_certified.* do not use"):
        audit(orthogonal_chain(2.0), states(features=4), Ball("l2", 0.3), budget=FAST)


def test_actions_found_and_proven():
    policy, x, ball = network("tanh", seed=1, gain=2.0, sizes=(3, 8, 7)), states(), Ball("l2", 0.4)
    found = audit(policy, x, ball, heads=(3, 2, 2), budget=FAST)
    certified, seen = values(found, "radius_certified"), values(found, "radius_found")
    expected = certified_radius(policy, x, ball, (3, 2, 2), steps=6)
    torch.testing.assert_close(certified, expected)
    assert (certified <= seen).all()
    assert (seen[seen.isfinite()] <= 0.4 * (1 + 1e-9)).all()
    assert share(found, "changed").value == pytest.approx(seen.isfinite().double().mean().item())
    assert share(found, "certain").value == pytest.approx((certified >= 0.4).double().mean().item())
    assert share(found, "changed").value > 0
    assert share(found, "changed").value + share(found, "certain").value <= 1
    assert share(found, "changed_gradient").value >= share(found, "changed_random").value


def test_the_radius_found_of_a_linear_policy_is_exact():
    x = torch.tensor([[0.3, 0.1], [2.0, 0.0]])
    found = audit(linear(torch.eye(2)), x, Ball("linf", 0.5), heads=(2,), budget=FAST)
    assert values(found, "radius_found")[0].item() == pytest.approx(0.1, abs=1e-6)
    assert math.isinf(values(found, "radius_found")[1])
    assert values(found, "radius_certified")[1].item() == 0.5


def test_sensitivities_agree_with_the_theory_module():
    policy, x, ball = network("tanh", seed=3, gain=2.0), states(), Ball("linf", 0.2)
    found = audit(policy, x, ball, gamma=1.5, budget=FAST)
    known = network_constants(policy).lipschitz
    assert values(found, "lipschitz").item() == pytest.approx(known, rel=1e-6)
    spectral = values(found, "sensitivity_spectral")
    assert found.membership["spectral_share"] == (spectral <= 1.5).double().mean().item()
    assert not found.membership["proven_global"]
    assert audit(policy, x, ball, gamma=known * 1.01, budget=FAST).membership["proven_global"]
    from aajr import ProjectedGradientAscent

    attack = ProjectedGradientAscent(ball, steps=1, random_start=True)
    trajectory = attack(policy, x, torch.Generator().manual_seed(0))
    assert membership(policy, trajectory, 1.5).spectral.sensitivity <= known


def test_only_attackable_features_count():
    weight = torch.tensor([[1.0, 0.0, 100.0]])
    ball = Ball("l2", 0.1, mask=torch.tensor([True, True, False]))
    found = audit(linear(weight), states(), ball, gamma=2.0, budget=FAST)
    assert values(found, "lipschitz").item() == pytest.approx(1.0)
    assert values(found, "sensitivity_spectral").max().item() == pytest.approx(1.0)
    assert values(found, "change_certified").max().item() == pytest.approx(0.1)
    assert found.membership["aligned_share"] == 1.0
    assert found.membership["spectral_share"] == 0.0
    assert not found.membership["proven_global"]


def test_every_agent_has_a_budget_of_its_own():
    policy, x = nn.Sequential(nn.Flatten(), linear(torch.eye(6))), states(features=6)
    found = audit(policy, x.reshape(-1, 2, 3), Ball("l2", 0.5), budget=FAST)
    true = 0.5 * 2**0.5
    assert values(found, "change_found").min().item() == pytest.approx(true, rel=1e-3)
    assert values(found, "change_certified").max().item() == pytest.approx(true)


def test_scale_counts():
    ball = Ball("l2", 0.5, scale=torch.tensor([2.0, 0.1]))
    found = audit(linear(torch.eye(2)), states(features=2), ball, budget=FAST)
    assert values(found, "change_certified").max().item() == pytest.approx(1.0)
    assert values(found, "change_found").min().item() == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize("kind", ["round", "detach", "misleading"])
def test_masked_gradients_are_never_flattering(kind):
    policies = {
        "round": Quantised(network("tanh", seed=0)),
        "detach": Detached(),
        "misleading": Misleading.apply,
    }
    names = {
        "round": "zero_gradients",
        "detach": "gradient_cut_off",
        "misleading": "black_box_beats_gradient",
    }
    ball = Ball("linf", 0.3)
    with pytest.warns(MaskedGradientWarning):
        found = audit(policies[kind], states(), ball, gamma=1.0, budget=FAST)
    assert names[kind] in [finding.name for finding in found.findings]
    for name in ("change_gradient", "sensitivity_aligned", "sensitivity_spectral"):
        quantity = find(found.quantities, name)
        assert not quantity.values
        assert quantity.note in ("not to be trusted", "not available")
    assert found.membership["aligned_share"] is None
    assert (values(found, "change_found") > 0.05).all()


def test_masked_gradients_hide_the_share_of_actions_too():
    policy = Quantised(network("tanh", seed=1, gain=2.0))
    with pytest.warns(MaskedGradientWarning):
        found = audit(policy, states(), Ball("linf", 0.5), heads=(2, 2), budget=FAST)
    assert share(found, "changed_gradient").value is None
    assert share(found, "changed").value == share(found, "changed_black_box").value > 0
    assert share(found, "certain").value is None


def test_saturation_is_a_masked_gradient():
    policy = nn.Sequential(linear(1e4 * torch.eye(3)), nn.Tanh()).double()
    x = states().double().clamp(-1, 1)
    with pytest.warns(MaskedGradientWarning, match="exactly zero"):
        found = audit(policy, x + x.sign(), Ball("linf", 0.1), budget=FAST)
    assert found.findings[0].name == "zero_gradients"
    assert found.checks["found_below_certified"]


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_honest_policies_raise_no_warning(norm):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(4):
            policy = network("tanh", seed=seed, gain=1.5, sizes=(6, 16, 16, 4))
            budget = AuditBudget(queries=200)
            found = audit(policy, states(features=6), Ball(norm, 0.2), budget=budget, seed=seed)
            assert not found.findings


def test_unsupported_policies_are_measured_and_say_so():
    torch.manual_seed(0)
    policy = nn.Sequential(nn.Linear(3, 4), nn.PReLU(), nn.Linear(4, 4))
    found = audit(policy, states(), Ball("linf", 0.1), heads=(2, 2), gamma=9.0, budget=FAST)
    assert "PReLU" in found.not_certified
    assert not [item for item in found.quantities if item.kind == "certified" and item.available]
    assert (values(found, "change_found") > 0).all()
    assert (values(found, "sensitivity_aligned") <= values(found, "sensitivity_spectral")).all
    assert not found.to_json()["certified"]
    assert found.versions.keys() == {"aajr", "torch"}


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_is_audited_as_the_function_of_its_weights_or_refused(half):
    policy = network("tanh", seed=0).to(half)
    found = audit(policy, states().to(half), Ball("linf", 0.1), budget=FAST)
    exact = audit(
        network("tanh", seed=0).to(half).double(),
        states().to(half).double(),
        Ball("linf", 0.1),
        budget=FAST,
    )
    assert torch.equal(values(found, "change_certified"), values(exact, "change_certified"))
    assert torch.equal(values(found, "change_found"), values(exact, "change_found"))
    unread = nn.Sequential(nn.Linear(3, 3), nn.Softmax(-1)).to(half)
    with pytest.raises(ValueError, match=r"in float16 or bfloat16.*\.float\(\)"):
        audit(unread, states().to(half), Ball("linf", 0.1), budget=FAST)
    with pytest.raises(ValueError, match=r"in float16 or bfloat16.*\.float\(\)"):
        audit(lambda x: x.to(half), states(), Ball("linf", 0.1), budget=FAST)


def test_states_of_another_dtype_than_the_policy_are_named():
    unread = nn.Sequential(nn.Linear(3, 3), nn.Softmax(-1))
    with pytest.raises(ValueError, match=r"states has dtype torch.float64.* torch.float32"):
        audit(unread, states().double(), Ball("linf", 0.1), budget=FAST)


# With the fast budget the gradient attack may lose to the black box.
@pytest.mark.filterwarnings("ignore::aajr.adversaries.MaskedGradientWarning")
def test_epsilon_in_another_unit():
    policy = network("tanh", seed=0)
    with pytest.warns(EpsilonUnitWarning, match=r"ε reaches 8 metres .* range over only 3\."):
        found = audit(policy, states(), Ball("linf", 8.0), budget=FAST, epsilon_unit="metres")
    assert found.findings[-1].name == "epsilon_exceeds_range"
    with warnings.catch_warnings():
        warnings.simplefilter("error", EpsilonUnitWarning)
        scale = torch.tensor([0.01, 0.01, 5.0])
        audit(policy, states(), Ball("linf", 8.0, scale=scale), budget=FAST)
        audit(policy, states(1), Ball("linf", 8.0), budget=FAST)


def test_an_objective_of_the_users_own_precision():
    value = nn.Linear(4, 1)
    objective = Critic(lambda state, action: value(action).squeeze(1))
    policy, ball = network("tanh", seed=0), Ball("l2", 0.3)
    found = audit(policy, states(), ball, objective=objective, budget=FAST)
    plain = audit(policy, states(), ball, budget=FAST)
    assert all(found.checks.values())
    assert values(found, "change_gradient").mean() < values(plain, "change_gradient").mean()


@pytest.mark.filterwarnings("ignore::aajr.adversaries.MaskedGradientWarning")
def test_actors_images_and_training_mode():
    actor = Actor(5, heads=(2, 3), hidden=(8,)).train()
    found = audit(actor, states(features=5), Ball("linf", 0.1), heads=(2, 3), budget=FAST)
    assert found.subject["layers"] == "Linear(5, 8), Tanh, Linear(8, 5)"
    assert actor.training
    image = nn.Sequential(nn.Flatten(), nn.Linear(6, 4))
    ball = Ball("l2", 0.1, event_dims=2)
    found = audit(image, states(features=6).reshape(-1, 2, 3), ball, budget=FAST)
    assert found.checks["found_below_certified"]


def test_the_seed_decides_everything():
    policy, ball = network("tanh", seed=0), Ball("linf", 0.2)
    torch.manual_seed(1)
    first = audit(policy, states(), ball, budget=FAST, seed=3)
    torch.manual_seed(2)
    second = audit(policy, states(), ball, budget=FAST, seed=3)
    assert first.to_json() == second.to_json()
    assert first.to_json() != audit(policy, states(), ball, budget=FAST, seed=4).to_json()


def test_the_hash_is_of_the_weights():
    policy, ball = network("tanh", seed=0), Ball("linf", 0.2)
    first = audit(policy, states(), ball, budget=FAST).subject["weights_sha256"]
    again = audit(network("tanh", seed=0), states(), ball, budget=FAST).subject["weights_sha256"]
    other = audit(network("tanh", seed=1), states(), ball, budget=FAST).subject["weights_sha256"]
    assert first == again != other
    assert len(first) == 64


def test_json_is_plain_and_versioned():
    found = audit(linear(torch.eye(2)), states(features=2), Ball("linf", 0.1), heads=(2,))
    plain = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert plain["schema_version"] == 1
    assert None in plain["quantities"]["radius_found"]["per_state"]
    assert plain["quantities"]["change_found"]["kind"] == "measured"
    assert len(plain["quantities"]["change_certified"]["per_state"]) == 24


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"states": torch.ones(0, 3)}, "states has shape"),
        ({"states": torch.full((2, 3), torch.nan)}, "states holds 6 NaN"),
        ({"gamma": 0.0}, "gamma=0.0 is not allowed; give a finite number > 0"),
        ({"gamma": -1.0}, "gamma=-1.0"),
        ({"ball": Ball("linf", 0.0)}, "epsilon=0.0 is not allowed"),
        ({"heads": (3, 3)}, r"heads=\(3, 3\) need logits"),
        ({"heads": ()}, r"heads=\(\)"),
        ({"seed": -1}, "seed=-1"),
        ({"ball": 0.1}, "ball is a float; bounds and audits need an aajr.Ball"),
    ],
)
def test_bad_input_says_what_to_do(changes, message):
    given = {"states": states(), "ball": Ball("linf", 0.1), **changes}
    with pytest.raises(ValueError, match=message):
        audit(network("tanh", seed=0), given.pop("states"), given.pop("ball"), **given)


def test_bad_budgets_say_what_to_do():
    with pytest.raises(ValueError, match="restarts=0"):
        AuditBudget(restarts=0)
