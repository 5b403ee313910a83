"""The tables of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aajr.arena.records.evaluation import CLEAN, Trial
from aajr.report.tables import Table
from aajr.report.wording import MISSING, amount
from aajr.statistics.intervals import Interval

if TYPE_CHECKING:
    from aajr.arena.reports.report import Report


def attack_table(report: Report) -> Table:
    """Mean return, its interval and success for each attack and ε, and the cost of each attack."""
    radii = report.epsilons
    rows = [("none", *[_cell(report, CLEAN, 0.0)] * len(radii), _cost(report.trials(CLEAN, 0.0)))]
    for name in report.attacks:
        cells = [_cell(report, name, epsilon) for epsilon in radii]
        trials = [t for one in report.agents for t in one.assessment.trials]
        cost = _cost(tuple(t for t in trials if t.score.attack == name))
        rows.append((name, *cells, cost + _trained(report, name)))
    worst = [report.worst_within(epsilon) for epsilon in radii]
    cells = [f"{_interval(one.mean_return)}\n{one.attack.replace('_', ' ')}" for one in worst]
    own = _own_budgets(report)
    rules = (1, len(rows), len(rows) + 1) if own else (1, len(rows))
    rows += [("worst within ε", *cells, ""), *own]
    columns = ("attack", *(f"ε = {epsilon:g}" for epsilon in radii), "passes")
    return Table(title(report), columns, tuple(rows), (_note(report),), rules)


def left_out_table(report: Report) -> Table | None:
    """The attacks of the suite that were not run; None if all were."""
    if not report.left_out:
        return None
    return Table("Attacks left out", ("attack", "reason"), tuple(report.left_out.items()))


def check_table(report: Report) -> Table:
    """The checks of every agent."""
    rows = [
        (check.name, "held" if check.held else "did not hold", check.words)
        for one in report.agents
        for check in one.checks
    ]
    return Table("Checks of the attacks", ("check", "result", "measured"), tuple(rows))


def title(report: Report) -> str:
    """The agent and the environment."""
    agents = [one.assessment.checkpoint for one in report.agents]
    name = agents[0] if len(agents) == 1 else f"{agents[0]} and {len(agents) - 1} more"
    return f"{name} in {report.environment.get('environment', 'its environment')}"


def _note(report: Report) -> str:
    over = f"{report.episodes} episodes"
    if len(report.agents) > 1:
        over = f"{len(report.agents)} agents, {over} each"
    success = " and the share of won episodes beneath" if report.wins else ""
    learned = ", and the episodes of training at each radius where an attacker learns"
    trained = learned if learning_of(report) else ""
    return (
        f"Mean return over {over}, with its 95 % interval{success}; ε in {report.unit}; suite "
        f"{report.suite['name']} version {report.suite['version']}; forward and backward passes "
        f"per decision, and the seconds of all radii beneath{trained}."
    )


def _own_budgets(report: Report) -> list[tuple[str, ...]]:
    """Rows of the attacks whose budget is not ε."""
    trials = {t.score.attack: t for one in report.agents for t in one.assessment.trials if t.fixed}
    return [
        (
            f"{name}\n{trial.score.epsilon:g} {trial.unit}",
            *[_cell(report, name, trial.score.epsilon)] * len(report.epsilons),
            _cost((trial,)),
        )
        for name, trial in trials.items()
    ]


def _cell(report: Report, attack: str, epsilon: float) -> str:
    try:
        text = _interval(report.mean_return(attack, epsilon))
    except ValueError:  # the attack stopped at this radius
        return MISSING
    success = report.success(attack, epsilon)
    return text if success is None else f"{text}\n{success:.0%} won"


def _interval(interval: Interval) -> str:
    text = amount(interval.estimate)
    if interval.low is None or interval.high is None:
        return text
    return f"{text} ({amount(interval.low)} to {amount(interval.high)})"


def learning_of(report: Report) -> dict[str, Any]:
    """How the attackers of the suite learned, by the attack's name."""
    return {a["name"]: a["learning"] for a in report.suite.get("attacks", ()) if "learning" in a}


def _trained(report: Report, attack: str) -> str:
    """The episodes of an attacker's training; nothing for attacks that do not learn."""
    if attack not in learning_of(report):
        return ""
    effort = report.suite["effort"]
    return f"\n{effort['attacker_iterations'] * effort['attacker_environments']} episodes"


def _cost(trials: tuple[Trial, ...]) -> str:
    forward = sum(trial.forward_passes for trial in trials) / len(trials)
    backward = sum(trial.backward_passes for trial in trials) / len(trials)
    seconds = sum(trial.seconds + trial.preparation_seconds for trial in trials)
    return f"{forward:.0f} / {backward:.0f}\n{seconds:.1f} s"
