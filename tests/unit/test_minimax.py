"""The composition: parts, placements, diagnostics, resumption, bad input."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from aajr import (
    AAJR,
    AttackOn,
    Ball,
    Categorical,
    Cosine,
    Divergence,
    DualAscent,
    Frobenius,
    Linear,
    Minimax,
    ProjectedGradientAscent,
    RandomDirection,
    UniformNoise,
    diagnose,
)
from aajr.adversaries import with_epsilon
from aajr.testing import dense

BALL = Ball("l2", 0.3)


def make(penalty=None, **settings) -> Minimax:
    return Minimax(ProjectedGradientAscent(BALL), penalty, **settings)


def task(output: Tensor) -> Tensor:
    return output.square().mean()


@pytest.mark.parametrize("weight", [0.0, 0.7, Linear(0.2, 1.0, 4)])
@pytest.mark.parametrize("placement", ["clean", "adversarial", "mixed"])
def test_total_is_task_plus_weighted_penalty(weight, placement):
    policy, x = dense.tanh_net(), dense.inputs()
    robust = make(Frobenius(), weight=weight, placement=placement)
    for update in range(3):
        loss = robust(policy, x, task)
        factor = weight(update) if callable(weight) else weight
        torch.testing.assert_close(loss.total, loss.task + factor * loss.penalty)
        task_part, penalty_part, total = (
            torch.autograd.grad(value, policy[0].weight, retain_graph=True)[0]
            for value in (loss.task, loss.penalty, loss.total)
        )
        torch.testing.assert_close(total, task_part + factor * penalty_part)
        clean, attacked = task(policy(x)), task(policy(loss.trajectory.worst))
        expected = {"clean": clean, "adversarial": attacked, "mixed": (clean + attacked) / 2}
        dense.assert_matches(loss.task, expected[placement], policy, tolerance=1e-12)
    assert robust.update == 3


def test_the_penalty_gets_the_trajectory_the_generator_and_the_update():
    policy, x = dense.tanh_net(), dense.inputs()
    robust, generator = make(Frobenius(), seed=5), torch.Generator().manual_seed(5)
    loss = robust(policy, x, task)
    trajectory = robust.adversary(policy, x, generator)
    assert torch.equal(loss.trajectory.points, trajectory.points)
    expected = Frobenius()(policy, trajectory, generator)
    dense.assert_matches(loss.penalty, expected, policy, tolerance=1e-12)
    every_other = make(Frobenius(interval=2))
    penalties = [float(every_other(policy, x, task).penalty.detach()) for _ in range(4)]
    assert [value > 0 for value in penalties] == [True, False, True, False]


@pytest.mark.parametrize("attack_fraction", [1.0, 0.5])
def test_regularising_is_the_call_without_its_task(attack_fraction):
    policy, x = dense.tanh_net(), dense.inputs()
    settings = {"weight": 0.7, "placement": "clean", "attack_fraction": attack_fraction, "seed": 3}
    called, regularised = make(Frobenius(), **settings), make(Frobenius(), **settings)
    for _ in range(2):
        loss, part = called(policy, x, task), regularised.regularise(policy, x)
        assert torch.equal(part.trajectory.worst, loss.trajectory.worst)
        assert part.task == 0
        torch.testing.assert_close(loss.total, task(policy(x)) + part.total)
        assert part.diagnostics == loss.diagnostics
    assert called.update == regularised.update == 2


def test_without_a_penalty_it_is_adversarial_training():
    policy, x = dense.tanh_net(), dense.inputs()
    loss = make()(policy, x, task)
    assert torch.equal(loss.total, loss.task)
    assert float(loss.penalty) == 0


def test_the_policy_keeps_its_training_mode_for_the_task():
    policy = nn.Sequential(dense.tanh_net(), nn.Dropout(0.5)).train()
    torch.manual_seed(0)
    loss = make(AAJR(), placement="clean")(policy, dense.inputs(), task)
    torch.manual_seed(0)
    assert torch.equal(loss.task, task(policy(dense.inputs())))


def test_data_reach_the_objective():
    def objective(output: Tensor, reference) -> Tensor:
        return (output * reference.data["sign"]).sum(1)

    robust = Minimax(ProjectedGradientAscent(BALL, objective, random_start=False))
    x, sign = dense.inputs(2, 5), torch.tensor([[1.0], [-1.0]])
    delta = robust.regularise(torch.clone, x, {"sign": sign}).trajectory.worst - x
    assert bool((delta * sign > 0).all())


def losses(robust: Minimax, policy: nn.Module, updates: int) -> list[Tensor]:
    return [robust(policy, dense.inputs(32, 5), task).total.detach() for _ in range(updates)]


@pytest.mark.parametrize(
    "penalty",
    [
        lambda: None,
        lambda: AAJR(direction="gradient", interval=2),
        lambda: RandomDirection(weight="gradient"),
    ],
)
@pytest.mark.parametrize("stop", [0, 1, 3])
def test_a_resumed_run_goes_on_bit_for_bit(penalty, stop):
    policy = dense.tanh_net()
    whole = losses(make(penalty(), seed=1), policy, 6)
    first = make(penalty(), seed=1)
    begun = losses(first, policy, stop)
    state = {name: value.clone() for name, value in first.state_dict().items()}
    assert all(isinstance(value, Tensor) and value.is_contiguous() for value in state.values())
    second = make(penalty(), seed=1)
    losses(second, policy, 2)  # what it did before must not matter
    second.load_state_dict(state)
    assert all(
        torch.equal(a, b)
        for a, b in zip(whole, begun + losses(second, policy, 6 - stop), strict=True)
    )


def test_the_state_survives_safetensors(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    policy, robust = dense.tanh_net(), make(AAJR(direction="gradient"))
    losses(robust, policy, 2)
    safetensors.save_file(robust.state_dict(), tmp_path / "state.safetensors")
    other = make(AAJR(direction="gradient"))
    other.load_state_dict(safetensors.load_file(tmp_path / "state.safetensors"))
    assert torch.equal(losses(robust, policy, 1)[0], losses(other, policy, 1)[0])


def test_a_foreign_state_is_refused():
    with pytest.raises(ValueError, match=r"state holds \['step'\] but no 'update'"):
        make().load_state_dict({"step": torch.tensor(1)})


def test_a_loaded_state_is_saved_again_before_any_update():
    policy, robust = dense.tanh_net(), make(AAJR())
    losses(robust, policy, 2)
    state, other = robust.state_dict(), make(AAJR())
    other.load_state_dict(state)
    again = other.state_dict()
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], state[name]) for name in state)


def test_the_random_state_of_another_type_of_device_is_refused():
    robust = make()
    state = {**robust.state_dict(), "random_state": torch.zeros(16, dtype=torch.uint8)}
    robust.load_state_dict(state)  # a CUDA generator's state has 16 bytes
    with pytest.raises(ValueError, match="another type of device than 'cpu'"):
        losses(robust, dense.tanh_net(), 1)


def test_only_the_seed_decides():
    policy, results = dense.tanh_net(), []
    for seed, global_seed in ((3, 1), (3, 2), (4, 1)):
        torch.manual_seed(global_seed)
        results.append(losses(make(AAJR(), seed=seed), policy, 2))
    assert all(torch.equal(a, b) for a, b in zip(results[0], results[1], strict=True))
    assert not torch.equal(results[0][0], results[2][0])


@pytest.mark.parametrize("metric", dense.METRICS.values(), ids=dense.METRICS)
def test_diagnostics_match_dense_values(metric, generator):
    policy, x = dense.tanh_net(), dense.inputs(64, 5)
    attack = ProjectedGradientAscent(BALL, Divergence(metric))
    trajectory = attack(policy, x, generator)
    found = diagnose(policy, trajectory, generator, metric=metric, projections=600)
    point, g = trajectory.points[-2], trajectory.gradients[-1]
    J = dense.jacobian(policy, point)
    factor = dense.factor_matrix(metric, policy(point)).transpose(-1, -2) @ J
    v = (g / g.norm(dim=1, keepdim=True)).unsqueeze(-1)
    aligned = float((factor @ v).square().sum((1, 2)).mean().detach())
    frobenius = float(factor.square().sum((1, 2)).mean().detach())
    spectral = float(torch.linalg.matrix_norm(factor, 2).square().mean().detach())
    assert found["aligned"] == pytest.approx(aligned, rel=1e-6)
    assert found["frobenius"] == pytest.approx(frobenius, rel=0.03)
    assert found["spectral"] == pytest.approx(spectral, rel=0.03)
    assert found["spectral"] <= spectral * (1 + 1e-9)
    assert found["alignment"] == pytest.approx(aligned / frobenius, rel=0.03)
    assert found["stable_rank"] == pytest.approx(frobenius / spectral, rel=0.06)


def test_masked_diagnostics_count_the_masked_features(generator):
    W, mask = dense.inputs(6, 5), torch.tensor([True, False, True, False, True])
    attack = ProjectedGradientAscent(Ball("l2", 0.3, mask=mask))
    trajectory = attack(lambda x: x @ W.T, dense.inputs(64, 5), generator)
    found = diagnose(lambda x: x @ W.T, trajectory, generator, mask=mask, projections=200)
    exact = float(W[:, mask].square().sum())
    assert found["frobenius"] == pytest.approx(exact, rel=0.05)
    assert found["spectral"] <= float(torch.linalg.matrix_norm(W[:, mask], 2)) ** 2 * (1 + 1e-9)


def test_numbers_come_with_every_loss_and_jacobians_at_intervals():
    policy, x = dense.tanh_net(), dense.inputs()
    robust = make(AAJR(metric=Categorical()), diagnostics_interval=2)
    loss = robust(policy, x, task)
    norms = loss.trajectory.gradients.norm(dim=-1)
    assert loss.diagnostics["inner_gradient_norm_mean"] == pytest.approx(float(norms.mean()))
    assert loss.diagnostics["inner_gradient_norm_max"] == pytest.approx(float(norms.max()))
    assert loss.diagnostics["forward_passes"] == 4
    assert loss.diagnostics["backward_passes"] == 3
    generator = torch.Generator().manual_seed(0)
    exact = diagnose(policy, loss.trajectory, generator, metric=Categorical())
    assert loss.diagnostics["aligned"] == pytest.approx(exact["aligned"])
    assert "aligned" not in robust(policy, x, task).diagnostics
    assert "aligned" in robust(policy, x, task).diagnostics


def test_diagnostics_do_not_change_the_training():
    policy = dense.tanh_net()
    plain = losses(make(AAJR()), policy, 4)
    watched = losses(make(AAJR(), diagnostics_interval=1), policy, 4)
    assert all(torch.equal(a, b) for a, b in zip(plain, watched, strict=True))


@pytest.mark.parametrize("step_size", [None, 0.2])
def test_epsilon_may_follow_a_schedule(step_size):
    """A given step keeps its share of ε, so that a whole run is made of searches by hand."""
    policy, x, schedule = dense.tanh_net(), dense.inputs(), Linear(0.0, 0.4, 2)
    attack = ProjectedGradientAscent(BALL, step_size=step_size)
    robust, generator = Minimax(attack, epsilon=schedule), torch.Generator().manual_seed(0)
    for update, radius in enumerate((0.0, 0.2, 0.4, 0.4)):
        step = None if step_size is None or radius == 0 else radius * (step_size / BALL.epsilon)
        ball = BALL.with_epsilon(radius)
        expected = ProjectedGradientAscent(ball, step_size=step)(policy, x, generator)
        assert torch.equal(robust(policy, x, task).trajectory.points, expected.points), update
    assert robust.adversary is attack


def test_the_radius_of_an_inner_search_follows_too():
    x, generator = dense.inputs(), torch.Generator().manual_seed(0)
    attack = AttackOn(dense.tanh_net(), ProjectedGradientAscent(BALL))
    assert with_epsilon(attack, BALL.epsilon) is attack
    assert with_epsilon(attack, 0.1).adversary.ball.epsilon == 0.1
    worst = with_epsilon(attack, 0.1)(dense.tanh_net(), x, generator).worst
    assert 0.05 < float((worst - x).norm(dim=1).max()) <= 0.1 * (1 + 1e-6)


WEIGHTS = {
    "number": lambda: 0.7,
    "linear": lambda: Linear(0.2, 1.0, 4),
    "function": lambda: lambda update: 0.5 / (1 + update),
    "dual": lambda: DualAscent(0.1, weight=0.5),
}
RADII = {
    "own": lambda: None,
    "number": lambda: 0.2,
    "linear": lambda: Linear(0.1, 0.4, 4),
    "cosine": lambda: Cosine(0.05, 0.3, 5),
    "function": lambda: lambda update: 0.1 * (1 + update % 2),
}
PENALTIES = {
    "gradient": lambda: AAJR(direction="gradient", interval=2, fraction=0.5),
    "random": lambda: RandomDirection(weight="gradient", interval=1),
    "frobenius": lambda: Frobenius(interval=3),
}


@given(
    *(st.sampled_from(list(kinds)) for kinds in (WEIGHTS, RADII, PENALTIES)),
    st.sampled_from([1.0, 0.5]),
    st.integers(0, 5),
    st.integers(0, 3),
    st.integers(0, 2**31),
)
def test_a_saved_run_goes_on_as_if_it_had_not_stopped(
    weight, radius, penalty, share, stop, before, seed
):
    """A state saved at any update goes on alike in a new object and in one already used."""

    def one(seed: int) -> Minimax:
        return make(
            PENALTIES[penalty](),
            weight=WEIGHTS[weight](),
            epsilon=RADII[radius](),
            placement="clean",
            attack_fraction=share,
            seed=seed,
        )

    def run(robust: Minimax, updates: int) -> list[tuple[float, float, Tensor]]:
        found = [robust(policy, dense.inputs(6, 5), task) for _ in range(updates)]
        return [
            (float(f.total.detach()), float(f.penalty.detach()), f.trajectory.worst) for f in found
        ]

    policy, whole, other = dense.tanh_net(), one(seed), one(seed + (stop > 0))
    run(whole, stop)
    state = {name: value.clone() for name, value in whole.state_dict().items()}
    run(other, before)
    other.load_state_dict(state)
    for (a, b, c), (d, e, f) in zip(run(whole, 3), run(other, 3), strict=True):
        assert (a, b) == (d, e)
        assert torch.equal(c, f)
    first, second = whole.state_dict(), other.state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert first.keys() <= {"update", "random_state", "gradient_scale", "dual"}


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda output: output.mean() * torch.nan, "the task loss is nan; lower the learning rate"),
        (lambda output: output.mean() / 0, "the task loss is -?inf; lower the learning rate"),
        (lambda output: output.sum(1), r"the task loss has shape \(4,\); reduce it to a scalar"),
        (lambda output: 1.0, "the task loss is a float; return a scalar tensor"),
    ],
)
def test_broken_task_losses_are_refused(broken, message):
    with pytest.raises(ValueError, match=message):
        make(AAJR())(dense.tanh_net(), dense.inputs(), broken)


def test_a_broken_penalty_is_refused():
    class Overflow(Frobenius):
        def per_sample(self, policy, trajectory, generator):
            return super().per_sample(policy, trajectory, generator) * torch.inf

    with pytest.raises(ValueError, match="the penalty loss is inf; lower the learning rate"):
        make(Overflow())(dense.tanh_net(), dense.inputs(), task)


def test_broken_parameters_stop_the_run():
    policy = dense.tanh_net()
    with torch.no_grad():
        policy[0].bias[0] = torch.nan
    with pytest.raises(ValueError, match="the policy's output holds NaN or infinite values"):
        make(AAJR())(policy, dense.inputs(), task)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": -1.0}, r"weight=-1\.0 is not allowed"),
        (
            {"placement": "both"},
            "placement='both' is unknown; choose one of 'clean', 'adversarial'",
        ),
        ({"diagnostics_interval": -1}, "diagnostics_interval=-1 is not allowed"),
        ({"seed": 0.5}, r"seed=0\.5 is not allowed"),
        ({"epsilon": -0.1}, r"epsilon=-0\.1 is not allowed"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Minimax(UniformNoise(BALL), **settings)


def test_a_radius_needs_a_ball():
    class Still:
        """No dataclass and no ball."""

    with pytest.raises(ValueError, match=r"adversary=Still has no ball whose radius epsilon=0\.0"):
        Minimax(Still(), epsilon=Linear(0.1, 0.2, 3))


def test_a_schedule_that_turns_negative_is_refused():
    robust = make(AAJR(), weight=lambda update: 1.0 - update)
    robust(dense.tanh_net(), dense.inputs(), task)
    robust(dense.tanh_net(), dense.inputs(), task)
    with pytest.raises(ValueError, match=r"weight=-1\.0 is not allowed"):
        robust(dense.tanh_net(), dense.inputs(), task)


def test_attack_fraction_attacks_so_many_rows_and_keeps_the_task_whole():
    policy = nn.Linear(3, 2)
    x = torch.arange(48.0).reshape(16, 3)
    seen = []

    def task(output):
        seen.append(output.shape[0])
        return output.square().mean()

    attack = ProjectedGradientAscent(
        Ball("linf", 0.1), lambda output, reference: reference.data["sign"] * output.sum(1)
    )
    robust = Minimax(attack, AAJR(fraction=1.0), placement="clean", attack_fraction=0.25)
    loss = robust(policy, x, task, {"sign": x[:, 0].sign()})
    assert seen == [16]
    assert loss.trajectory.origin.shape == (4, 3)
    assert set(loss.trajectory.origin[:, 0].tolist()) <= set(x[:, 0].tolist())
    assert torch.equal(loss.trajectory.reference.data["sign"], loss.trajectory.origin[:, 0].sign())


def test_attack_fraction_needs_a_clean_task():
    attack = ProjectedGradientAscent(Ball("linf", 0.1))
    with pytest.raises(ValueError, match=r"attack_fraction=0\.5 leaves rows"):
        Minimax(attack, attack_fraction=0.5)


@pytest.mark.parametrize("call", ["__call__", "regularise"])
def test_a_dict_is_refused_by_name(call):
    robust, arguments = Minimax(ProjectedGradientAscent(BALL)), [dense.tanh_net()]
    arguments += [{"camera": dense.inputs(), "arm": dense.inputs()}]
    arguments += [task] if call == "__call__" else []
    with pytest.raises(ValueError, match=r"x is a dict with \['arm', 'camera'\]; give one torch"):
        getattr(robust, call)(*arguments)


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("call", ["__call__", "regularise"])
def test_gradients_switched_off_are_named(off, call):
    robust, arguments = Minimax(ProjectedGradientAscent(BALL), AAJR()), [dense.tanh_net()]
    arguments += [dense.inputs()] + ([task] if call == "__call__" else [])
    with off(), pytest.raises(ValueError, match=r"under torch\.no_grad\(\) or inference mode"):
        getattr(robust, call)(*arguments)


def test_frozen_parameters_are_named():
    policy = dense.tanh_net().requires_grad_(False)
    with pytest.raises(ValueError, match=r"no parameter of the policy requires a gradient"):
        Minimax(ProjectedGradientAscent(BALL), AAJR())(policy, dense.inputs(), task)


def test_function_transforms_are_named():
    policy, x = dense.tanh_net(), dense.inputs()
    robust = Minimax(ProjectedGradientAscent(BALL), AAJR())

    def loss(parameters):
        wrapped = lambda z: torch.func.functional_call(policy, parameters, (z,))  # noqa: E731
        return robust(wrapped, x, task).total

    with pytest.raises(ValueError, match=r"inside a torch\.func transform.*use aajr\.jax"):
        torch.func.grad(loss)(dict(policy.named_parameters()))


def test_inference_tensors_are_named():
    with torch.inference_mode():
        x = dense.inputs() + 0
    with pytest.raises(ValueError, match=r"x comes from torch\.inference_mode\(\)"):
        Minimax(ProjectedGradientAscent(BALL))(dense.tanh_net(), x, task)


def test_float64_inputs_of_a_float32_policy_are_named():
    policy = dense.tanh_net(dtype=torch.float32)
    with pytest.raises(
        ValueError, match=r"x has dtype torch\.float64 but the policy torch\.float32"
    ):
        Minimax(ProjectedGradientAscent(BALL))(policy, dense.inputs(), task)


def test_between_intervals_there_is_nothing_to_learn_and_backward_still_works():
    policy, robust = dense.tanh_net(), Minimax(ProjectedGradientAscent(BALL), AAJR(interval=2))
    robust.regularise(policy, dense.inputs()).total.backward()
    policy.zero_grad()
    second = robust.regularise(policy, dense.inputs())
    second.total.backward()
    assert float(second.total.detach()) == 0
    assert all(parameter.grad is None for parameter in policy.parameters())
