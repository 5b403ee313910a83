"""The parameters of the game."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from aajr._settings import check_count, check_number, stated
from aajr.hide_and_seek.game.radio import Radio

Team = Literal["hider", "seeker"]
"""The two sides of the game."""

Wall = tuple[float, float, float, float]


@dataclass(frozen=True)
class HideAndSeekConfig:
    """Parameters of hide-and-seek in the square arena [-1, 1]².

    Attributes:
        n_hiders: number of hiders.
        n_seekers: number of seekers.
        n_boxes: number of movable, lockable boxes.
        walls: static rectangles (centre x, centre y, half width, half height).
        max_steps: length of an episode in steps.
        preparation_fraction: share of the episode in which seekers are frozen and rewards zero.
        view_radius: how far an agent sees, in arena half widths.
        view_cone: full angle of the field of view around the heading, in radians; with 0 an agent
            sees in all directions.
        hider_speed: greatest hider displacement per step.
        seeker_speed: greatest seeker displacement per step.
        agent_radius: half size of an agent in collisions with walls and boxes; agents may overlap
            each other.
        box_half_size: least and greatest half size of a box.
        reach: greatest distance from an agent to the box that it grabs or locks.
        team_share: weight of the team's mean reward in an agent's reward, in [0, 1].
        reward_scale: factor on the rewards of ±1.
        lidar_rays: rays of a range finder per agent; 0 for none.
        discrete: True for discrete heads (11 bins in x, 11 in y, grab, lock), False for a
            continuous velocity.
        observe_nearest: how many of the nearest boxes, of the nearest teammates and of the nearest
            opponents an agent observes; 0 for all.
        required_hidden: how many hiders must be unseen at the last step for success; 0 for two
            fifths of the hiders, rounded up.
        radio: the radio that reports the seekers' positions to hiders that see only a short way;
            None for no radio and hiders that see as far as the seekers do.

    Source: Baker et al., Emergent tool use from multi-agent autocurricula, 2020,
    https://arxiv.org/abs/1909.07528.
    """

    n_hiders: int = 5
    n_seekers: int = 5
    n_boxes: int = 6
    walls: tuple[Wall, ...] = ((-0.45, 0.35, 0.04, 0.3), (0.45, -0.35, 0.04, 0.3))
    max_steps: int = 64
    preparation_fraction: float = 0.375
    view_radius: float = 0.7
    view_cone: float = 0.0
    hider_speed: float = 0.05
    seeker_speed: float = 0.06
    agent_radius: float = 0.03
    box_half_size: tuple[float, float] = (0.06, 0.22)
    reach: float = 0.06
    team_share: float = 0.5
    reward_scale: float = 0.1
    lidar_rays: int = 0
    discrete: bool = True
    observe_nearest: int = 0
    required_hidden: int = 0
    radio: Radio | None = None

    def __post_init__(self) -> None:
        for name in ("n_hiders", "n_seekers", "max_steps"):
            check_count(name, getattr(self, name))
        for name in ("n_boxes", "lidar_rays", "observe_nearest", "required_hidden"):
            check_count(name, getattr(self, name), minimum=0)
        for name in ("view_radius", "hider_speed", "seeker_speed", "reward_scale"):
            check_number(name, getattr(self, name), exclusive=True)
        check_number("agent_radius", self.agent_radius, exclusive=True, maximum=0.25)
        check_number("reach", self.reach)
        check_number("preparation_fraction", self.preparation_fraction, maximum=1.0)
        check_number("team_share", self.team_share, maximum=1.0)
        check_number("view_cone", self.view_cone, maximum=2 * math.pi)
        if not 0 < self.box_half_size[0] <= self.box_half_size[1] < 0.5:
            raise ValueError(
                f"box_half_size={self.box_half_size} is not allowed; "
                "give 0 < least <= greatest < 0.5"
            )
        for wall in self.walls:
            _check_wall(wall)
        self._check_speed()
        if self.required_hidden > self.n_hiders:
            raise ValueError(
                f"required_hidden={self.required_hidden} exceeds n_hiders={self.n_hiders}"
            )

    def _check_speed(self) -> None:
        thinnest = min([self.box_half_size[0], *(min(wall[2:]) for wall in self.walls)])
        limit = 2 * (self.agent_radius + thinnest)
        for name in ("hider_speed", "seeker_speed"):
            if getattr(self, name) >= limit:
                raise ValueError(
                    f"{name}={getattr(self, name)} could jump through a wall or a box; keep it "
                    f"below {limit:g}, twice agent_radius plus the least half size"
                )

    @property
    def preparation_steps(self) -> int:
        """Steps in which the seekers are frozen."""
        return round(self.preparation_fraction * self.max_steps)

    @property
    def hidden_for_success(self) -> int:
        """Hiders that must be unseen at the last step."""
        return self.required_hidden or math.ceil(0.4 * self.n_hiders)

    @property
    def facts(self) -> dict[str, Any]:
        """The game as JSON values, without fields that are None."""
        return asdict(self, dict_factory=stated)

    @property
    def n_agents(self) -> int:
        """Agents of both teams; hiders come first."""
        return self.n_hiders + self.n_seekers


def _check_wall(wall: Wall) -> None:
    numbers = len(wall) == 4 and all(math.isfinite(value) for value in wall)
    if not numbers or min(wall[2:]) <= 0 or max(abs(wall[0]), abs(wall[1])) > 1:
        raise ValueError(
            f"walls holds {wall}, which is not allowed; give (centre x, centre y, half width, "
            "half height) with the centre in [-1, 1]² and positive halves"
        )


def game_of(facts: Mapping[str, Any]) -> HideAndSeekConfig:
    """Build the game from its :attr:`~HideAndSeekConfig.facts` as read from JSON."""
    walls = tuple(tuple(wall) for wall in facts["walls"])
    size, radio = tuple(facts["box_half_size"]), facts.get("radio")
    if radio is not None:
        radio = Radio(**{**radio, "noise": tuple(radio["noise"])})
    return HideAndSeekConfig(**{**facts, "walls": walls, "box_half_size": size, "radio": radio})


RADIO_GAME = HideAndSeekConfig(
    n_boxes=3,
    view_radius=0.3,
    hider_speed=0.08,
    seeker_speed=0.05,
    preparation_fraction=0.125,
    required_hidden=3,
    radio=Radio(),
)
"""The game for the threat ``reports``.

Hiders that stand still lose it, and so do hiders that act on false reports.
"""
