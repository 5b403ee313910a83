"""Lines of sight against exact rational geometry."""

import itertools
import math
from fractions import Fraction

import torch
from hypothesis import given
from hypothesis import strategies as st

from aajr.hide_and_seek.game.visibility import entry_fraction, in_cone, lidar, line_of_sight

GRID = st.integers(-16, 16)


def crosses(start, end, centre, half) -> bool:
    """Exact: does the closed segment meet the closed rectangle? By clipping in rationals."""
    low, high = Fraction(0), Fraction(1)
    for axis in (0, 1):
        a, d = Fraction(start[axis]), Fraction(end[axis]) - Fraction(start[axis])
        near, far = centre[axis] - half[axis], centre[axis] + half[axis]
        if d == 0:
            if not near <= a <= far:
                return False
            continue
        t0, t1 = sorted(((near - a) / d, (far - a) / d))
        low, high = max(low, t0), min(high, t1)
    return low <= high


@given(
    st.tuples(GRID, GRID),
    st.tuples(GRID, GRID),
    st.tuples(GRID, GRID),
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
)
def test_occlusion_is_exact(start, end, centre, half):
    # odd thirds keep the segment off the corners, where rounding may decide either way
    scaled = [
        tuple(Fraction(3 * v + 1, 3) for v in start),
        tuple(Fraction(3 * v - 1, 3) for v in end),
    ]
    tensors = [
        torch.tensor([float(v) for v in p], dtype=torch.float64) for p in (*scaled, centre, half)
    ]
    grown = [tuple(h + Fraction(s, 10**6) for h in half) for s in (-1, 1)]
    inner, outer = (crosses(*scaled, centre, g) for g in grown)
    if inner == outer:
        assert bool(entry_fraction(*tensors) < math.inf) == inner


def scene(seed: int):
    g = torch.Generator().manual_seed(seed)
    points = 2 * torch.rand(4, 6, 2, generator=g) - 1
    centre = 2 * torch.rand(4, 5, 2, generator=g) - 1
    half = 0.02 + 0.2 * torch.rand(4, 5, 2, generator=g)
    return points, centre, half


@given(st.integers(0, 1000))
def test_sight_is_symmetric_and_bounded(seed):
    points, centre, half = scene(seed)
    sees = line_of_sight(points, points, centre, half, radius=0.7)
    assert torch.equal(sees, sees.transpose(1, 2))
    distance = torch.cdist(points, points)
    assert not bool((sees & (distance > 0.7 + 1e-5)).any())


def turn(a, b, c) -> int:
    """Exact: 1 if a, b, c turn left, -1 if right, 0 if they lie on a line."""
    area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    return (area > 0) - (area < 0)


def hidden_by(start, end, centre, half) -> bool:
    """Exact, without clipping: an end lies inside, or the segment crosses a diagonal."""
    low, high = ([c + s * h for c, h in zip(centre, half, strict=True)] for s in (-1, 1))
    if any(all(low[i] <= p[i] <= high[i] for i in (0, 1)) for p in (start, end)):
        return True
    diagonals = (low, high), ([low[0], high[1]], [high[0], low[1]])
    return any(
        turn(start, end, a) != turn(start, end, b) and turn(a, b, start) != turn(a, b, end)
        for a, b in diagonals
    )


@given(st.integers(0, 10_000))
def test_sight_among_many_rectangles_is_exact(seed):
    g = torch.Generator().manual_seed(seed)
    watchers, targets, centre = (2 * torch.rand(2, n, 2, generator=g) - 1 for n in (3, 4, 5))
    half = 0.02 + 0.3 * torch.rand(2, 5, 2, generator=g)
    sees = line_of_sight(watchers, targets, centre, half, radius=3.0)
    w, t, c, h = (
        [[[Fraction(v) for v in p] for p in game] for game in item.tolist()]
        for item in (watchers, targets, centre, half)
    )
    for e, i, j in itertools.product(range(2), range(3), range(4)):
        verdicts = {
            any(
                hidden_by(w[e][i], t[e][j], c[e][r], [v + margin for v in h[e][r]])
                for r in range(5)
            )
            for margin in (Fraction(-1, 10**5), Fraction(1, 10**5))
        }
        # within rounding of an edge either answer will do
        assert bool(sees[e, i, j]) != verdicts.pop() or verdicts


def test_a_box_between_hides():
    watcher, target = torch.tensor([[[-0.3, 0.0]]]), torch.tensor([[[0.3, 0.0]]])
    half = torch.tensor([[[0.05, 0.05]]])
    blocked = line_of_sight(watcher, target, torch.tensor([[[0.0, 0.0]]]), half, 1.0)
    clear = line_of_sight(watcher, target, torch.tensor([[[0.0, 0.06]]]), half, 1.0)
    assert (bool(blocked), bool(clear)) == (False, True)


def test_the_cone_is_centred_on_the_heading():
    watcher, heading = torch.zeros(1, 1, 2), torch.tensor([[[1.0, 0.0]]])
    angles = torch.tensor([0.0, 0.7, 0.8, 3.0])
    targets = torch.stack([angles.cos(), angles.sin()], -1).unsqueeze(0)
    seen = in_cone(watcher, heading, targets, angle=math.pi / 2)
    assert seen[0, 0].tolist() == [True, True, False, False]


def test_lidar_measures_the_gap():
    origin = torch.zeros(1, 1, 2)
    centre, half = torch.tensor([[[0.5, 0.0]]]), torch.tensor([[[0.1, 0.1]]])
    ranges = lidar(origin, rays=4, radius=0.8, centre=centre, half=half)
    assert torch.allclose(ranges[0, 0], torch.tensor([0.5, 1.0, 1.0, 1.0]))
