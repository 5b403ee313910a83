"""Lines of sight against exact rational geometry."""

import math
from fractions import Fraction

import torch
from hypothesis import given
from hypothesis import strategies as st

from aajr.envs.hide_and_seek.visibility import entry_fraction, in_cone, lidar, line_of_sight

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
