"""What ``aajr evaluate`` measured: frozen records with an exact JSON form, and worst cases."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aajr._checks import check_count
from aajr._values import check_real, check_text, frozen_facts, parse_json, tuple_of
from aajr.report.files import write_json
from aajr.statistics.intervals import area_under_curve, mean_difference


@dataclass(frozen=True)
class Score:
    """Outcome of one attack at one radius against one policy.

    Attributes:
        attack: name of the attack; ``"none"`` at radius zero.
        epsilon: radius, in the unit of the threat's norm.
        success: share of episodes that the protected team won, in [0, 1].
        episodes: number of episodes.
        mean_return: mean return of the protected team.
        changed_actions: share of actions that differ from the undisturbed choice. Zero at a
            positive radius means that the perturbation never reached the policy.
        largest_perturbation: greatest norm of a perturbation, in the unit of ``epsilon``.

    Raises:
        ValueError: for a value that is not a finite number in its range.

    Example:
        >>> Score("none", 0.0, success=0.76, episodes=500, mean_return=12.5).success
        0.76
    """

    attack: str
    epsilon: float
    success: float
    episodes: int
    mean_return: float
    changed_actions: float = 0.0
    largest_perturbation: float = 0.0

    def __post_init__(self) -> None:
        check_text("attack", self.attack)
        check_real("epsilon", self.epsilon)
        check_real("success", self.success, maximum=1.0)
        check_count("episodes", self.episodes)
        check_real("mean_return", self.mean_return, minimum=-math.inf)
        check_real("changed_actions", self.changed_actions, maximum=1.0)
        check_real("largest_perturbation", self.largest_perturbation)


EVALUATION_VERSION = 1
"""Version of the layout of ``evaluation.json``."""

CLEAN = "none"
"""Name of the trial without an attack."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One attack at one budget against one policy.

    Attributes:
        score: success, return, budget and reach.
        kind: ``none``, ``noise``, ``gradient``, ``black_box``, ``structured`` or ``learned``.
        unit: of the budget.
        fixed: whether the attack has a budget of its own, which does not grow with ε.
        won: an episode a letter, 1 if the hiders won it; the same starts for all attacks.
        forward_passes: evaluations of the victim per decision.
        backward_passes: gradients per decision.
        seconds: of play, attack included.
        preparation_seconds: of what was fitted or trained first for this attack.
        zero_gradients: whether some search saw no gradient other than zero.
        coordination: measures of the hiders' behaviour under this attack.

    Raises:
        ValueError: letters other than 0 and 1, or not one for each episode.
    """

    score: Score
    kind: str
    unit: str
    fixed: bool
    won: str
    forward_passes: float
    backward_passes: float
    seconds: float = 0.0
    preparation_seconds: float = 0.0
    zero_gradients: bool = False
    coordination: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("kind", "unit"):
            check_text(name, getattr(self, name))
        if len(self.won) != self.score.episodes or set(self.won) - {"0", "1"}:
            raise ValueError(
                f"won has {len(self.won)} letters {sorted(set(self.won))}; give 0 or 1 for each of "
                f"the {self.score.episodes} episodes"
            )
        for name in ("forward_passes", "backward_passes", "seconds", "preparation_seconds"):
            check_real(name, getattr(self, name))
        object.__setattr__(self, "coordination", frozen_facts("coordination", self.coordination))


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """All trials of one policy.

    Attributes:
        checkpoint: where it was read.
        method: what it was trained with, in a few words.
        seed: of its training.
        trials: the clean one and the attacks, in the order of the suite.
        preparation: held-out R² of what was fitted to attack it, and queries of an imitation.

    Raises:
        ValueError: no clean trial, or two trials of one attack and budget.
    """

    checkpoint: str
    method: str
    seed: int
    trials: tuple[Trial, ...]
    preparation: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_text("method", self.method)
        object.__setattr__(self, "trials", tuple_of("trials", self.trials, Trial))
        cells = [(trial.score.attack, trial.score.epsilon) for trial in self.trials]
        if len(set(cells)) < len(cells) or cells.count((CLEAN, 0.0)) != 1:
            raise ValueError("trials must hold the clean one, and each attack and budget once")

    @property
    def clean(self) -> Trial:
        """The trial without an attack."""
        return next(trial for trial in self.trials if trial.score.attack == CLEAN)

    @property
    def fixed(self) -> tuple[Trial, ...]:
        """The attacks with budgets of their own."""
        return tuple(trial for trial in self.trials if trial.fixed)

    @property
    def epsilons(self) -> tuple[float, ...]:
        """Positive radii, rising."""
        return tuple(sorted({t.score.epsilon for t in self.trials if not t.fixed} - {0.0}))

    def at(self, epsilon: float, *, in_ball: bool = False) -> tuple[Trial, ...]:
        """The attacks that the suite makes at ε: those at ε, and those of a fixed budget.

        Args:
            epsilon: one of :attr:`epsilons`.
            in_ball: leave out those of a fixed budget.

        Raises:
            ValueError: no trial at this ε.
        """
        found = tuple(t for t in self.trials if not t.fixed and t.score.epsilon == epsilon)
        if not found or epsilon == 0:
            raise ValueError(f"epsilon={epsilon} was not evaluated; choose among {self.epsilons}")
        return found if in_ball else (*found, *self.fixed)

    def worst(self, epsilon: float, *, in_ball: bool = False) -> Trial:
        """The trial of least success at ε; never above a single attack's."""
        return min(self.at(epsilon, in_ball=in_ball), key=lambda trial: trial.score.success)

    def worst_per_episode(self, epsilon: float, *, in_ball: bool = False) -> float:
        """Share of the episodes that the hiders win whatever attack of the suite they meet.

        An adversary that knew beforehand which attack works on which start would leave no less;
        of policies and opponents that act at random it takes the bad luck of every trial too.
        """
        trials = self.at(epsilon, in_ball=in_ball)
        survived = [min(letters) == "1" for letters in zip(*(t.won for t in trials), strict=True)]
        return sum(survived) / len(survived)

    def curve(self) -> dict[float, float]:
        """Worst success in the ball at each ε; clean at 0."""
        radii = {epsilon: self.worst(epsilon, in_ball=True) for epsilon in self.epsilons}
        clean = {0.0: self.clean.score.success}
        return clean | {epsilon: trial.score.success for epsilon, trial in radii.items()}

    @property
    def area(self) -> float | None:
        """Mean height of :meth:`curve`; None without a positive ε."""
        curve = self.curve()
        return area_under_curve(curve) if len(curve) > 1 else None

    def findings(self) -> tuple[str, ...]:
        """What speaks against the gradients of the policy, in sentences.

        A black-box attack in the ball that leaves less than every gradient attack there, each
        time by more than the 95 % interval of the paired difference over episodes; and attacks
        that saw no gradient but zero.
        """
        found = [
            f"{trial.score.attack} at {trial.score.epsilon:g} saw zero gradients only"
            for trial in self.trials
            if trial.zero_gradients
        ]
        for epsilon in self.epsilons:
            trials = self.at(epsilon, in_ball=True)
            gradient = [trial for trial in trials if trial.kind == "gradient"]
            for rival in (trial for trial in trials if trial.kind == "black_box"):
                if gradient and all(_beats(rival, trial) for trial in gradient):
                    found.append(
                        f"{rival.score.attack} beats every gradient attack at ε = {epsilon:g}: "
                        "gradients may be masked"
                    )
        return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Everything one ``aajr evaluate`` measured.

    Attributes:
        suite: name, version, effort and attacks; see :meth:`aajr.arena.suites.Suite.facts`.
        threat: what may be perturbed.
        unit: of ε.
        episodes: of each trial.
        seed: of the starts.
        opponents: checkpoints of the frozen seekers.
        assessments: one for each policy.
        machine: facts of the machine.
        versions: of the packages.
        schema_version: layout of the file.
    """

    suite: Mapping[str, Any]
    threat: str
    unit: str
    episodes: int
    seed: int
    opponents: tuple[str, ...]
    assessments: tuple[Assessment, ...]
    machine: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)
    schema_version: int = EVALUATION_VERSION

    def __post_init__(self) -> None:
        if self.schema_version != EVALUATION_VERSION:
            raise ValueError(
                f"schema_version={self.schema_version!r} cannot be read, only "
                f"{EVALUATION_VERSION}; evaluate again"
            )
        check_count("episodes", self.episodes)
        for name in ("suite", "machine", "versions"):
            object.__setattr__(self, name, frozen_facts(name, getattr(self, name)))
        object.__setattr__(self, "opponents", tuple_of("opponents", self.opponents, str))
        parts = tuple_of("assessments", self.assessments, Assessment)
        object.__setattr__(self, "assessments", parts)


def write_evaluation(evaluation: Evaluation, path: Path, standings: Any = None) -> None:
    """Write an evaluation as JSON; the file appears whole or not at all.

    Args:
        evaluation: what was measured.
        path: the file.
        standings: what follows from it, for readers of the file; not read again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = dataclasses.asdict(evaluation)
    worst = [_worst_facts(assessment) for assessment in evaluation.assessments]
    write_json(path, facts | {"worst": worst, "standings": standings})


def read_evaluation(path: Path) -> Evaluation:
    """Read what :func:`write_evaluation` wrote.

    Raises:
        ValueError: a file that is missing, truncated, of another version or out of range.
    """
    try:
        facts = parse_json(path.read_text(encoding="utf-8"))
        derived = ("worst", "standings", "assessments")
        rest = {name: value for name, value in facts.items() if name not in derived}
        parts = tuple(_assessment(item) for item in facts["assessments"])
        return Evaluation(**rest, assessments=parts)
    except (OSError, KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is no whole evaluation ({error}); evaluate again") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def trial_of(facts: Mapping[str, Any]) -> Trial:
    """A trial from its JSON form."""
    return Trial(**{**facts, "score": Score(**facts["score"])})


def _assessment(facts: Mapping[str, Any]) -> Assessment:
    trials = tuple(trial_of(item) for item in facts["trials"])
    return Assessment(**{**facts, "trials": trials})


def _beats(rival: Trial, other: Trial) -> bool:
    pairs: Sequence[tuple[str, str]] = [*zip(other.won, rival.won, strict=True)]
    return mean_difference([int(a) - int(b) for a, b in pairs]).sign > 0


def _worst_facts(assessment: Assessment) -> dict[str, Any]:
    """The worst cases of a policy, for readers of the JSON file."""
    return {
        "checkpoint": assessment.checkpoint,
        "clean": assessment.clean.score.success,
        "epsilons": [
            {
                "epsilon": epsilon,
                "worst": assessment.worst(epsilon).score.success,
                "attack": assessment.worst(epsilon).score.attack,
                "worst_in_ball": assessment.worst(epsilon, in_ball=True).score.success,
                "attack_in_ball": assessment.worst(epsilon, in_ball=True).score.attack,
                "worst_per_episode": assessment.worst_per_episode(epsilon),
            }
            for epsilon in assessment.epsilons
        ],
        "area": assessment.area,
        "findings": list(assessment.findings()),
    }
