"""Measures of coordination in a team: pure functions of a recorded match.

They describe behaviour; none of them proves by itself that a team coordinates. If a measure
differs between methods, or falls under attack, then the behaviour differs or changes.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from aajr._checks import check_count, check_finite
from aajr.hide_and_seek.game import HideAndSeekConfig, hidden_share
from aajr.hide_and_seek.game.matches import Record
from aajr.hide_and_seek.game.state import BY_HIDERS

GRID = 10
"""Number of cells along each side of the arena in the measure of coverage."""

SHUFFLES = 10
"""Number of shuffles for the baseline of the mutual information."""


def coordination(
    record: Record, config: HideAndSeekConfig, seed: int = 0
) -> dict[str, float | list[float]]:
    """Compute all measures of one match.

    Args:
        record: the match.
        config: the game.
        seed: seed of the shuffles.

    Returns:
        The measures by name. ``hidden_share`` is there if the game has steps after the preparation,
        and ``coverage`` always. ``role_separation`` (of mean positions) and ``action_separation``
        (of action histograms) are computed over episodes; ``space_division`` (of positions) and
        ``labour_division`` (of actions) over the steps of each episode. ``action_information`` is
        in nats. ``grabs``, ``locks`` and ``box_distance`` of the hiders are per episode.
        ``seen_rate`` and ``hidden_at_end`` of the hiders and ``sighting_rate`` of the seekers are
        lists with one number per role; a role is an agent's index in its team.
    """
    hiders = record.agents[:, :, : config.n_hiders]
    symbols = action_symbols(record.action)
    acts = torch.nn.functional.one_hot(symbols, SYMBOLS).float()
    generator = torch.Generator().manual_seed(seed)
    measures: dict[str, float | list[float]] = {
        "coverage": float(coverage(hiders).mean()),
        "role_separation": float(role_separation(hiders.mean(1))),
        "action_separation": float(role_separation(acts.mean(1))),
        "space_division": float(role_separation(hiders).mean()),
        "labour_division": float(role_separation(acts).mean()),
        "action_information": team_information(symbols, generator),
    }
    if config.preparation_steps < config.max_steps:
        measures["hidden_share"] = float(hidden_share(record.sighted, config).mean())
    use = box_use(record, config.n_hiders)
    return (
        measures
        | {name: float(value.mean()) for name, value in use.items()}
        | role_rates(record, config)
    )


def coverage(positions: Tensor, cells: int = GRID) -> Tensor:
    """Share of the arena's grid cells that a team visits in an episode.

    Args:
        positions: positions of the team in [-1, 1]², ``[episodes, steps, agents, 2]``.
        cells: number of cells along each side of the grid.

    Returns:
        ``[episodes]``, in [0, 1].

    Example:
        >>> import torch
        >>> corners = torch.tensor([[[[-0.9, -0.9]], [[0.9, 0.9]]]])
        >>> coverage(corners, cells=2)
        tensor([0.5000])
    """
    check_count("cells", cells)
    check_finite("positions", positions)
    place = ((positions + 1) / 2 * cells).long().clamp(0, cells - 1)
    index = (place[..., 0] * cells + place[..., 1]).flatten(1)
    visited = torch.zeros(len(index), cells * cells, device=index.device)
    return visited.scatter_(1, index, 1.0).mean(1)


def role_separation(features: Tensor) -> Tensor:
    r"""Share of the variance that lies between agents: the correlation ratio η².

    .. math:: \eta^2 = \frac{\sum_a \|\bar f_a - \bar f\|^2 E}{\sum_{e,a} \|f_{ea} - \bar f\|^2}

    It is 1 if each agent repeats its own behaviour in every sample and the agents differ from each
    other. If the A agents behave alike and the E samples are independent, its mean is
    (A - 1)/(E A - 1). It is 0 if nothing varies.

    Args:
        features: features of each agent in each sample, ``[..., samples, agents, features]``. The
            samples are episodes (features: mean positions, or histograms of actions) or the steps
            of one episode.

    Returns:
        ``[...]``, in [0, 1].

    Example:
        >>> import torch
        >>> role_separation(torch.tensor([[[-1.0], [1.0]], [[-1.0], [1.0]]]))
        tensor(1.)

    Source: Fisher, Statistical methods for research workers, 1925.
    """
    if features.ndim < 3 or features.numel() == 0:
        raise ValueError(
            f"features has shape {tuple(features.shape)}; give [..., samples, agents, features]"
        )
    check_finite("features", features)
    exact = features.double()
    middle = exact - exact.mean((-3, -2), keepdim=True)
    total = middle.square().sum((-3, -2, -1))
    between = features.shape[-3] * middle.mean(-3).square().sum((-2, -1))
    share = torch.where(total > 0, between / total.clamp_min(1e-300), 0.0)
    return share.clamp(0, 1).to(features.dtype)


def mutual_information(first: Tensor, second: Tensor) -> float:
    r"""Mutual information of two sequences of symbols in nats, with Miller and Madow's correction.

    .. math:: \hat I = \sum \hat p \log \frac{\hat p}{\hat p_x \hat p_y}
        + \frac{K_x + K_y - K_{xy} - 1}{2n}

    K is the number of distinct symbols, or pairs, that occur. With few samples the estimate may be
    negative.

    Args:
        first: whole numbers from 0, ``[n]``.
        second: the other sequence, of the same form.

    Raises:
        ValueError: the lengths differ, there are no samples, or entries are not whole numbers.

    Example:
        >>> import torch
        >>> coin = torch.tensor([0, 1] * 500)
        >>> round(mutual_information(coin, coin), 3), round(mutual_information(coin, coin * 0), 3)
        (0.694, 0.0)

    Source: Miller, Note on the bias of information estimates, 1955.
    """
    for name, value in (("first", first), ("second", second)):
        if value.is_floating_point() or value.ndim != 1 or value.numel() == 0:
            raise ValueError(f"{name} must hold whole numbers [n], at least one")
    if len(first) != len(second):
        raise ValueError(f"first has {len(first)} samples and second {len(second)}; pair them")
    _, x = torch.unique(first, return_inverse=True)
    _, y = torch.unique(second, return_inverse=True)
    table = torch.zeros(int(x.max()) + 1, int(y.max()) + 1, dtype=torch.float64)
    table.index_put_((x, y), torch.ones(len(x), dtype=torch.float64), accumulate=True)
    joint = table / len(x)
    expected = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
    used = joint > 0
    plug_in = (joint[used] * (joint[used] / expected[used]).log()).sum()
    missing = table.shape[0] + table.shape[1] - int(used.sum()) - 1
    return float(plug_in + missing / (2 * len(x)))


def team_information(
    symbols: Tensor, generator: torch.Generator, shuffles: int = SHUFFLES
) -> float:
    """Mutual information of teammates' actions, minus a baseline from shuffled episodes.

    It is the mean over pairs of agents. The baseline takes the second agent of each pair from
    another episode at the same step. Dependence on what all episodes share, such as the clock,
    therefore does not count. Dependence on what teammates observe in common does count.

    Args:
        symbols: actions as whole numbers, ``[episodes, steps, agents]``.
        generator: random source of the shuffles.
        shuffles: number of shuffles of the episodes.

    Returns:
        Nats: about zero for agents that act independently, 0 for a single agent or episode.

    Example:
        >>> import torch
        >>> g = torch.Generator().manual_seed(0)
        >>> coins = torch.randint(2, (100, 10, 1), generator=g)
        >>> round(team_information(coins.expand(-1, -1, 2), g), 1)
        0.7
    """
    check_count("shuffles", shuffles)
    episodes, _, agents = symbols.shape
    if agents < 2 or episodes < 2:
        return 0.0
    shifts = 1 + torch.randint(episodes - 1, (shuffles,), generator=generator)
    total, pairs = 0.0, list(itertools.combinations(range(agents), 2))
    for one, other in pairs:
        first, second = symbols[..., one], symbols[..., other]
        apart = [_information(first, second.roll(int(shift), 0)) for shift in shifts]
        total += _information(first, second) - sum(apart) / shuffles
    return total / len(pairs)


SYMBOLS = 36
"""Number of action symbols: 9 directions of motion, times 2 for grab, times 2 for lock."""


def action_symbols(action: Tensor) -> Tensor:
    """Encode actions ``[..., 4]`` as numbers from 0 to 35: sign of the x and y motion, grab, lock.

    Example:
        >>> import torch
        >>> action_symbols(torch.tensor([[0, 0, 0, 0], [3, 8, 1, 0]]))
        tensor([16, 10])
    """
    # VMAS: bin 0 stands still; bins 1 to 5 are negative speeds, bins 6 to 10 positive ones
    sign = torch.where(action[..., :2] == 0, 1, torch.where(action[..., :2] <= 5, 0, 2))
    return ((sign[..., 0] * 3 + sign[..., 1]) * 2 + action[..., 2]) * 2 + action[..., 3]


def box_use(record: Record, hiders: int) -> dict[str, Tensor]:
    """Count the hiders' use of boxes, per episode.

    Args:
        record: the match.
        hiders: number of hiders.

    Returns:
        ``grabs`` (boxes grabbed), ``locks`` (boxes locked) and ``box_distance`` (distance that
        boxes were carried, in arena half widths), each ``[episodes]``.
    """
    by_team = (record.holder >= 0) & (record.holder < hiders)
    taken = by_team[:, 1:] & (record.holder[:, 1:] != record.holder[:, :-1])
    locked = record.lock == BY_HIDERS
    way = torch.linalg.vector_norm(record.boxes[:, 1:] - record.boxes[:, :-1], dim=-1)
    return {
        "grabs": taken.flatten(1).sum(1).float(),
        "locks": (locked[:, 1:] & ~locked[:, :-1]).flatten(1).sum(1).float(),
        "box_distance": (way * by_team[:, 1:]).flatten(1).sum(1),
    }


def role_rates(record: Record, config: HideAndSeekConfig) -> dict[str, float | list[float]]:
    """Rates of every role; a role is an agent's index in its team.

    Returns:
        ``seen_rate`` and ``hidden_at_end`` of each hider, ``sighting_rate`` of each seeker. The
        rates count the steps after the preparation; ``hidden_at_end`` counts the last step.
    """
    played = slice(min(config.preparation_steps, config.max_steps - 1), None)
    return {
        "seen_rate": record.sighted[:, played].mean((0, 1)).tolist(),
        "hidden_at_end": (1 - record.seen).mean(0).tolist(),
        "sighting_rate": record.sighting[:, played].mean((0, 1)).tolist(),
    }


def _information(first: Tensor, second: Tensor) -> float:
    return mutual_information(first.flatten(), second.flatten())
