"""FAB and AutoAttack against linear classifiers, whose robustness is known exactly."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor, nn

from aajr import (
    FAB,
    AutoAttackResult,
    AutoPGD,
    Ball,
    CrossEntropy,
    ProjectedGradientAscent,
    Square,
)
from aajr import auto_attack as attack
from aajr.adversaries._fab import _Box
from aajr.testing import dense

FEATURES, CLASSES = 6, 5
SCALE = torch.tensor([0.5, 2.0, 1.0, 1.5, 1.0, 0.3], dtype=torch.float64)
MASK = torch.tensor([True, True, False, True, True, True])
BALLS = {
    "linf": Ball("linf", 0.2),
    "l2": Ball("l2", 0.4),
    "linf scaled, masked, boxed": Ball("linf", 0.2, scale=SCALE, mask=MASK, low=-1.0, high=1.0),
    "l2 scaled, masked": Ball("l2", 0.4, scale=SCALE, mask=MASK),
}
every_ball = pytest.mark.parametrize("ball", BALLS.values(), ids=BALLS)


def linear(classes: int = CLASSES) -> nn.Linear:
    """A classifier that depends on the features by a plane for each class."""
    net = nn.Linear(FEATURES, classes).double()
    with torch.no_grad():
        net.weight.copy_(dense.inputs(classes, FEATURES, seed=11))
        net.bias.copy_(0.3 * dense.inputs(classes, seed=12))
    return net


def sample(rows: int, net: nn.Linear) -> tuple[Tensor, Tensor]:
    """Inputs in the box and their labels, some of them wrong."""
    x = dense.inputs(rows, FEATURES, seed=13).clamp(-1, 1)
    y = net(x).argmax(1)
    y[::10] = (y[::10] + 1) % net.out_features
    return x, y


def leads(net: nn.Linear, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """u_j - u_y and its slope in x for every j, ``[batch, classes]`` and with features."""
    u = net(x).detach()
    return u - u.gather(1, y[:, None]), (net.weight - net.weight[y][:, None]).detach()


def gain(ball: Ball, x: Tensor, slope: Tensor, radius: Tensor | float) -> Tensor:
    """max ⟨w, δ⟩ over the ball, ``[batch, classes]``, by the dual norm and the box."""
    scale = 1.0 if ball.scale is None else ball.scale
    slope = slope if ball.mask is None else slope * ball.mask
    if ball.norm == "l2":
        return radius * (slope * scale).norm(dim=2)
    radius = torch.as_tensor(radius, dtype=x.dtype).expand(slope.shape[:2])
    reach = radius[..., None] * scale * torch.ones_like(slope)
    room = torch.where(slope > 0, 1 - x[:, None], x[:, None] + 1) if ball.high else reach
    return (slope.abs() * torch.minimum(reach, room)).sum(2)


@every_ball
@pytest.mark.parametrize("classes", [2, 3, CLASSES])
def test_robust_accuracy_of_a_linear_classifier_is_exact(ball, classes, generator):
    net = linear(classes)
    x, y = sample(100, net)
    lead, slope = leads(net, x, y)
    others = torch.nn.functional.one_hot(y, classes).bool()
    best = (lead + gain(ball, x, slope, ball.epsilon)).masked_fill(others, -math.inf).amax(1)
    assert 0.1 < float((best > 0).double().mean()) < 0.9
    assert float(best.abs().min()) > 1e-4, "a row on the boundary would prove nothing"
    result = attack(net, x, y, ball, generator=generator, steps=20, queries=50, batch_size=64)
    assert torch.equal(result.success, best > 0)
    assert result.robust_accuracy == pytest.approx(float((best <= 0).double().mean()))
    assert torch.equal(net(result.points).argmax(1) != y, result.success)
    assert bool((ball.size(result.points - x) <= ball.epsilon * (1 + 1e-9)).all())


@every_ball
def test_fab_finds_the_least_perturbation_of_a_linear_classifier(ball, generator):
    net = linear()
    x, _ = sample(40, net)
    y = net(x).argmax(1)
    lead, slope = leads(net, x, y)
    wide = ball.with_epsilon(100.0)
    low, high = torch.zeros_like(lead), torch.full_like(lead, 10.0)
    for _ in range(60):  # the radius at which the gain equals the gap
        middle = (low + high) / 2
        enough = gain(ball, x, slope, middle) > -lead
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    distance = torch.where(high < 10, high, math.inf)
    right = torch.nn.functional.one_hot(y, CLASSES).bool()
    least = distance.masked_fill(right, math.inf)
    found = torch.full((len(x),), math.inf, dtype=x.dtype)
    for target in range(CLASSES):
        data = {"label": y, "target_class": torch.where(y == target, (y + 1) % CLASSES, target)}
        trajectory = FAB(wide)(net, x, generator, data)
        size = wide.size(trajectory.worst - x)
        wrong = net(trajectory.worst).argmax(1) != y
        found = torch.where(wrong & (size < found), size, found)
    reachable = least.amin(1) < math.inf
    assert int(reachable.sum()) > 20
    expected = least.amin(1)[reachable]  # eight bisections leave a 256th
    torch.testing.assert_close(found[reachable], expected, rtol=1e-2, atol=0)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_shortest_way_onto_a_plane_inside_a_box(norm):
    """Against a linear program for linf, and the stationarity conditions for l2."""
    ball = Ball(norm, 1.0, scale=SCALE, low=-1.0, high=1.0)
    x = dense.inputs(30, FEATURES, seed=4).clamp(-0.9, 0.9)
    slope, gap = dense.inputs(30, FEATURES, seed=5), 2 * dense.inputs(30, seed=6)
    delta = _Box(ball, x).onto(gap, slope, x)
    assert bool(((x + delta).abs() <= 1 + 1e-12).all())
    most = torch.where(slope * gap[:, None] > 0, 1 - x, x + 1).mul(slope.abs()).sum(1)
    feasible = most >= gap.abs()
    assert int(feasible.sum()) > 5
    reached = (slope * delta).sum(1)
    torch.testing.assert_close(reached, torch.where(feasible, gap, gap.sign() * most))
    for row in feasible.nonzero()[:, 0].tolist():
        d, w = delta[row] / SCALE, slope[row] * SCALE
        if norm == "linf":
            solved = linprog(
                np.r_[np.zeros(FEATURES), 1.0],
                A_ub=np.r_[
                    np.c_[np.eye(FEATURES), -np.ones(FEATURES)],
                    np.c_[-np.eye(FEATURES), -np.ones(FEATURES)],
                ],
                b_ub=np.zeros(2 * FEATURES),
                A_eq=[[*w.tolist(), 0.0]],
                b_eq=[gap[row].item()],
                bounds=[*torch.stack([-1 - x[row], 1 - x[row]], 1).div(SCALE[:, None]), (0, None)],
            )
            assert float(d.abs().max()) == pytest.approx(solved.fun)
        else:
            free = (x[row] + delta[row]).abs() < 1 - 1e-9
            rates = (d / w).abs()
            torch.testing.assert_close(rates[free], rates.max().expand(int(free.sum())))


def test_what_broke_each_row_is_counted(generator):
    net = linear()
    x, y = sample(100, net)
    result = attack(net, x, y, BALLS["linf"], generator=generator, steps=5, queries=20)
    assert isinstance(result, AutoAttackResult)
    assert sum(result.counts.values()) == int(result.success.sum())
    assert list(result.counts) == ["clean", "apgd_ce", "apgd_dlr", "fab", "square"]
    assert result.clean_accuracy == pytest.approx(0.9)
    clean = torch.tensor([by == "clean" for by in result.broken_by])
    assert torch.equal(clean, net(x).argmax(1) != y)
    assert torch.equal(result.points[clean], x[clean])
    stands = torch.tensor([by == "" for by in result.broken_by])
    assert torch.equal(stands, ~result.success)
    assert torch.equal(result.points[stands], x[stands])


def test_each_attack_sees_only_the_rows_that_stand(monkeypatch, generator):
    """Every attack finds a way for one row; the next is not shown that row again."""
    net, seen = linear(), []
    x, y = sample(50, net)
    ball = BALLS["l2"]

    def spying(kind):
        run = kind.run

        def spied(self, policy, reference, generator):
            seen.append(len(reference.inputs))
            return run(self, policy, reference, generator)

        monkeypatch.setattr(kind, "run", spied)

    for kind in (AutoPGD, FAB, Square):
        spying(kind)
    result = attack(net, x, y, ball, generator=generator, steps=3, queries=5, targets=2)
    assert seen[0] == 45
    assert seen[1:] == sorted(seen[1:], reverse=True)
    assert len(seen) == 1 + 2 + 2 + 1
    assert seen[-1] - result.counts["square"] == int((~result.success).sum())


class Obfuscated(nn.Module):
    """A classifier of coarse logits, whose gradient is zero."""

    def __init__(self) -> None:
        super().__init__()
        self.net = linear()

    def forward(self, x: Tensor) -> Tensor:
        return (4 * self.net(x)).round() / 4 + 0 * x.sum(1, keepdim=True)


@pytest.mark.filterwarnings("ignore::aajr.MaskedGradientWarning")
def test_square_breaks_what_hides_its_gradient(generator):
    policy = Obfuscated()
    x = dense.inputs(40, FEATURES, seed=13)
    y = policy(x).argmax(1)
    result = attack(policy, x, y, Ball("linf", 0.4), generator=generator, steps=3, queries=100)
    assert result.counts["square"] > 0
    stronger = ProjectedGradientAscent(Ball("linf", 0.4), CrossEntropy(), steps=3)
    alone = policy(stronger(policy, x, generator, {"label": y}).worst).argmax(1) != y
    assert int(result.success.sum()) > int(alone.sum())


def test_fab_takes_the_clean_answer_for_the_label(generator):
    net = dense.tanh_net()
    x = dense.inputs()
    found = FAB(Ball("l2", 50.0))(net, x, generator)
    given = FAB(Ball("l2", 50.0))(net, x, generator, {"label": net(x).argmax(1)})
    assert torch.equal(found.worst, given.worst)
    assert bool((found.losses[1] > 0).all())
    assert float(found.losses[1].max()) < 0.05, "the boundary is near"


def test_fab_is_cut_to_the_ball(generator):
    ball = Ball("l2", 1e-3)
    found = FAB(ball)(dense.tanh_net(), dense.inputs(), generator)
    torch.testing.assert_close(
        ball.size(found.worst - found.origin), torch.full((4,), 1e-3, dtype=torch.float64)
    )


def test_a_coalition_of_each_row_follows_its_row(generator):
    policy = nn.Sequential(nn.Flatten(), linear())
    x, y = sample(20, policy[1])
    coalition = torch.arange(20)[:, None] % 2 == torch.arange(2)
    ball = Ball("linf", 0.5, coalition=coalition)
    team = x.reshape(20, 2, 3)
    result = attack(policy, team, y, ball, generator=generator, steps=5, queries=10)
    assert not (result.points - team)[~coalition].any()
    assert sum(result.counts.values()) > result.counts["clean"]


def test_masked_classes_are_no_targets(generator):
    class Masked(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return net(x).index_fill(1, torch.tensor([2, 3]), -math.inf)

    net, policy = linear(), Masked()
    x = dense.inputs(30, FEATURES, seed=13)
    y = policy(x).argmax(1)
    result = attack(policy, x, y, BALLS["linf"], generator=generator, steps=5, queries=10)
    assert 0 < result.robust_accuracy < 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": torch.full((4,), 9)}, "y holds classes from 9 to 9; the logits have classes 0 to 4"),
        ({"y": torch.zeros(4)}, "y is torch.float32; give whole numbers"),
        ({"y": torch.zeros(3).long()}, r"y has shape \(3,\); give one class per sample, \(4,\)"),
        ({"steps": 0}, "steps=0 is not allowed; give a whole number >= 1"),
        ({"targets": 0}, "targets=0 is not allowed"),
        ({"policy": lambda x: x[:, :1]}, r"returned \(4, 1\); auto_attack needs logits"),
        ({"x": torch.zeros(4)}, r"x has shape \(4,\); give \[batch"),
        ({"generator": 3}, "generator is a int"),
    ],
)
def test_bad_calls_are_refused(change, message, generator):
    given = {
        "policy": linear(),
        "x": dense.inputs(4, FEATURES),
        "y": torch.zeros(4).long(),
        "ball": BALLS["linf"],
        "generator": generator,
        **change,
    }
    with pytest.raises(ValueError, match=message):
        attack(**given)
