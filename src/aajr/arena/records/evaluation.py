"""The results of ``aajr evaluate``: validated records with an exact JSON form, and worst cases."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from aajr.arena.records.fields import CLOSED, Amount, Count, Facts, Real, Share, Text, read_record
from aajr.report.files import write_json
from aajr.statistics.intervals import area_under_curve, mean_difference


@dataclass(frozen=True, config=CLOSED)
class Score:
    """The outcome of one attack at one radius against one policy.

    Attributes:
        attack: name of the attack; ``"none"`` for the clean trial.
        epsilon: radius, in the unit of the threat's norm.
        success: share of episodes that the protected team won, in [0, 1].
        episodes: number of episodes.
        mean_return: mean return of the protected team.
        changed_actions: share of actions that differ from the action without attack.
        largest_perturbation: greatest norm of a perturbation, in the unit of ``epsilon``.

    Raises:
        ValueError: a value that is not a finite number in its range.

    Example:
        >>> Score("none", 0.0, success=0.76, episodes=500, mean_return=12.5).success
        0.76
    """

    attack: Text
    epsilon: Amount
    _: dataclasses.KW_ONLY
    success: Share
    episodes: Count
    mean_return: Real
    changed_actions: Share = 0.0
    largest_perturbation: Amount = 0.0


CLEAN = "none"
"""Name of the trial without an attack."""


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class Trial:
    """One attack at one budget against one policy.

    Attributes:
        score: success, return, ε and size of the perturbation.
        kind: ``none``, ``noise``, ``gradient``, ``black_box``, ``structured`` or ``learned``.
        unit: unit of the budget.
        fixed: whether the attack has its own budget, which does not grow with ε.
        won: one character per episode, 1 if the protected team won it, else 0. All attacks have
            the same initial states.
        forward_passes: evaluations of the victim per decision.
        backward_passes: gradients per decision.
        seconds: time of play with the attack.
        preparation_seconds: time of fitting and training for this attack.
        zero_gradients: whether a search found only zero gradients.
        coordination: measures of the team's behaviour under this attack.
        returns: return of every episode; empty in older files.

    Raises:
        ValueError: ``won`` or ``returns`` has not one entry, 0 or 1 in ``won``, for each episode.
    """

    score: Score
    kind: Text
    unit: Text
    fixed: bool
    won: str
    forward_passes: Amount
    backward_passes: Amount
    seconds: Amount = 0.0
    preparation_seconds: Amount = 0.0
    zero_gradients: bool = False
    coordination: Facts = field(default_factory=dict)
    returns: tuple[Real, ...] = ()

    def __post_init__(self) -> None:
        episodes, returns = self.score.episodes, len(self.returns)
        if returns not in (0, episodes):
            raise ValueError(f"returns has {returns} entries; give one for each of {episodes}")
        if len(self.won) != episodes or set(self.won) - {"0", "1"}:
            raise ValueError(
                f"won has {len(self.won)} letters {sorted(set(self.won))}; give 0 or 1 for each of "
                f"the {episodes} episodes"
            )


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class Assessment:
    """All trials of one policy.

    Attributes:
        checkpoint: file of the policy.
        method: name of the training method.
        seed: seed of its training.
        trials: the clean trial and the attacks, in the order of the suite.
        preparation: held-out R² of the fitted critics and imitation, and the imitation's queries.

    Raises:
        ValueError: no clean trial, or two trials of one attack and budget.
    """

    checkpoint: str
    method: Text
    seed: int
    trials: tuple[Trial, ...]
    preparation: Facts = field(default_factory=dict)

    def __post_init__(self) -> None:
        cells = [(trial.score.attack, trial.score.epsilon) for trial in self.trials]
        if len(set(cells)) < len(cells) or cells.count((CLEAN, 0.0)) != 1:
            raise ValueError("trials must hold the clean one, and each attack and budget once")

    @property
    def clean(self) -> Trial:
        """The trial without an attack."""
        return next(trial for trial in self.trials if trial.score.attack == CLEAN)

    @property
    def fixed(self) -> tuple[Trial, ...]:
        """The trials of attacks with their own budget."""
        return tuple(trial for trial in self.trials if trial.fixed)

    @property
    def epsilons(self) -> tuple[float, ...]:
        """Positive radii, rising."""
        return tuple(sorted({t.score.epsilon for t in self.trials if not t.fixed} - {0.0}))

    def at(self, epsilon: float, *, in_ball: bool = False) -> tuple[Trial, ...]:
        """The trials at ε, and the trials of attacks with a fixed budget.

        Args:
            epsilon: one of :attr:`epsilons`.
            in_ball: leave out attacks with a fixed budget.

        Raises:
            ValueError: no trial at this ε.
        """
        found = tuple(t for t in self.trials if not t.fixed and t.score.epsilon == epsilon)
        if not found or epsilon == 0:
            raise ValueError(f"epsilon={epsilon} was not evaluated; choose among {self.epsilons}")
        return found if in_ball else (*found, *self.fixed)

    def worst(self, epsilon: float, *, in_ball: bool = False) -> Trial:
        """The trial of least success at ε."""
        return min(self.at(epsilon, in_ball=in_ball), key=lambda trial: trial.score.success)

    def worst_per_episode(self, epsilon: float, *, in_ball: bool = False) -> float:
        """Share of the episodes that the protected team wins under every attack of the suite.

        An adversary that knew the best attack for each initial state would reach this share. If
        policies or opponents act at random, it also counts the bad luck of every trial.
        """
        trials = self.at(epsilon, in_ball=in_ball)
        survived = [min(letters) == "1" for letters in zip(*(t.won for t in trials), strict=True)]
        return sum(survived) / len(survived)

    def curve(self) -> dict[float, float]:
        """Worst success in the ball at each ε; the clean success at 0."""
        radii = {epsilon: self.worst(epsilon, in_ball=True) for epsilon in self.epsilons}
        clean = {0.0: self.clean.score.success}
        return clean | {epsilon: trial.score.success for epsilon, trial in radii.items()}

    @property
    def area(self) -> float | None:
        """Mean height of :meth:`curve`; None without a positive ε."""
        curve = self.curve()
        return area_under_curve(curve) if len(curve) > 1 else None

    def findings(self) -> tuple[str, ...]:
        """Sentences about signs of masked gradients.

        One sign is a black-box attack in the ball that beats every gradient attack there: the
        95 % interval of each paired difference over episodes lies above zero. The other is an
        attack that found only zero gradients.
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


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class Evaluation:
    """Everything one ``aajr evaluate`` measured.

    Attributes:
        suite: name, version, effort and attacks; see :meth:`aajr.arena.attacks.suites.Suite.facts`.
        threat: name of the threat model.
        unit: unit of ε.
        episodes: number of episodes of each trial.
        seed: seed of the initial states.
        opponents: checkpoints of the frozen opponents.
        assessments: one for each policy.
        machine: facts about the machine.
        versions: versions of the packages.
        schema_version: version of the file's layout.
    """

    suite: Facts
    threat: str
    unit: str
    episodes: Count
    seed: int
    opponents: tuple[str, ...]
    assessments: tuple[Assessment, ...]
    machine: Facts = field(default_factory=dict)
    versions: Facts = field(default_factory=dict)
    schema_version: Annotated[Count, Field(le=1)] = 1


def write_evaluation(evaluation: Evaluation, path: Path, standings: Any = None) -> None:
    """Write an evaluation as JSON; the file appears complete or not at all.

    Args:
        evaluation: the evaluation.
        path: the file.
        standings: JSON values computed from it, for readers of the file; never read again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = dataclasses.asdict(evaluation, dict_factory=_without_empty_returns)
    worst = [_worst_facts(assessment) for assessment in evaluation.assessments]
    write_json(path, facts | {"worst": worst, "standings": standings})


def read_evaluation(path: Path) -> Evaluation:
    """Read what :func:`write_evaluation` wrote; see :func:`read_record`."""
    return read_record(Evaluation, path, "evaluate again", ignored=("worst", "standings"))


def _without_empty_returns(fields: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The fields of a record; older files hold no returns, and are written again without them."""
    return {name: value for name, value in fields if name != "returns" or value}


def _beats(rival: Trial, other: Trial) -> bool:
    pairs = zip(other.won, rival.won, strict=True)
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
