"""Tables of the MuJoCo study, built only from its raw results."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from aajr.report.study import StudyReport
from aajr.report.tables import Table
from aajr.report.wording import with_interval
from aajr.statistics.comparisons import holm
from aajr.statistics.intervals import bootstrap, mean_difference, sign_flip_probability
from aajr.studies.mujoco._attacks import SEVEN, worst
from aajr.studies.mujoco._plots import PLOTS
from aajr.studies.mujoco._raw import (
    ALIGNED,
    GROUPS,
    Record,
    agents_of,
    by_seed,
    champion,
    means_by_attack,
    natural_of,
    titles,
    worst_of,
)

WITHOUT = {"aajr_adversarial": "adversarial", "atla_aajr": "atla"}
"""Methods that add AAJR to another one."""


def tables(results: Record) -> list[Table]:
    """Tables of returns, returns by attack, differences, sensitivity, attack strength, tuning."""
    return [
        _returns_table(results),
        _attacks_table(results),
        _differences_table(results),
        _sensitivity_table(results),
        _strength_table(results),
        _tuning_table(results),
    ]


def _returns_table(results: Record) -> Table:
    rows: list[tuple[str, ...]] = [
        (title, *_returns(results, agents_of(results, name)))
        for name, title in titles(results).items()
    ]
    rows += [_published(other) for other in results["published"]]
    protocol = results["protocol"]
    notes: tuple[str, ...] = (
        f"Return of {protocol['episodes']} episodes of {protocol['environment']}, deterministic "
        f"policies, {len(protocol['final_seeds'])} agents a method: interquartile mean with its "
        "bootstrap interval, and the median agent beneath.",
        f"ε = {protocol['epsilon']:g}, {results['unit']}. The worst is taken for every agent on "
        "its own.",
        "Five: random, critic, MAD, Robust Sarsa and its mixtures with MAD. Six: also SA-RL and "
        "PA-AD. Seven: also pushes in a direction that is constant or a linear function of the "
        "state.",
    )
    sources = "; ".join(sorted({entry["source"] for entry in results["published"]}))
    if sources:
        notes += (f"Not ours: {sources}: other code, other environment version, other networks.",)
    columns = ("method", "natural", *(f"worst of\n{group}" for group in GROUPS))
    return Table("Returns", columns, tuple(rows), notes, rules=(len(titles(results)),))


def _returns(results: Record, agents: list[Record]) -> list[str]:
    """Natural return and the worst of every group, each with its interval and median."""
    columns = [[natural_of(agent) for agent in agents]]
    columns += [[worst_of(agent, results, group) for agent in agents] for group in GROUPS]
    return [
        f"{with_interval(bootstrap(values), '{:.0f}')}\nmedian {np.median(values):.0f}"
        for values in columns
    ]


def _published(other: Record) -> tuple[str, ...]:
    """The row of a published result; one under a suite of its own is shown with the six."""
    own = other["attacks"] == "own"
    group = "six" if own else other["attacks"]
    figure = f"\nmedian {other['worst']:.0f}" + (", own suite" if own else "")
    cells = (figure if group == one else "" for one in GROUPS)
    return f"not ours: {other['method']}", f"\nmedian {other['natural']:.0f}", *cells


def _attacks_table(results: Record) -> Table:
    names = list(results["agents"][0]["returns"])
    rows = zip(names, means_by_attack(results, names).T, strict=True)
    columns = ("attack", *(title.replace(" ", "\n") for title in titles(results).values()))
    shown = tuple(
        (name.replace("_", " "), *(f"{value:.0f}" for value in row)) for name, row in rows
    )
    note = (
        "Interquartile means over the agents. push: the attack pushes the mean action in the same "
        "direction at every step; steer: the sign of a linear function of the state gives the "
        f"direction, for the worst function of {results['protocol']['director_draws']} random ones "
        "and of all single features with either sign. sa_rl and pa_ad learn for "
        f"{results['protocol']['attacker_steps']} steps. corner: the command's signs alone."
    )
    return Table("Return by attack", columns, shown, (note,))


def _differences_table(results: Record) -> Table:
    best, known = champion(results), titles(results)
    pairs = [(best, name) for name in known if best and ALIGNED not in name]
    pairs += [(one, other) for one, other in WITHOUT.items() if one in known and other in known]
    gaps = {pair: _gaps(results, *pair) for pair in dict.fromkeys(pairs)}
    raw = {f"{one}/{other}": sign_flip_probability(gap) for (one, other), gap in gaps.items()}
    corrected = holm(raw)
    rows = [
        (
            f"{known[one]}\nagainst {known[other]}",
            with_interval(mean_difference(gap), "{:+.0f}"),
            f"{raw[f'{one}/{other}']:.4f}",
            f"{corrected[f'{one}/{other}']:.4f}",
        )
        for (one, other), gap in gaps.items()
    ]
    note = (
        "Return under the worst of seven, paired over seeds: mean difference with its bootstrap "
        "interval, p of the exact sign-flip test, and after Holm's correction over this table. Of "
        "the methods with AAJR, the best on the validation seeds is compared with all others."
    )
    columns = ("methods", "difference", "p", "p, corrected")
    return Table("Differences of the worst of seven", columns, tuple(rows), (note,))


def _gaps(results: Record, one: str, other: str) -> list[float]:
    first, second = by_seed(results, one), by_seed(results, other)
    return [first[seed] - second[seed] for seed in first if seed in second]


def _sensitivity_table(results: Record) -> Table:
    def middle(name: str, key: str) -> float:
        values = [agent["sensitivity"][key] for agent in agents_of(results, name)]
        return bootstrap(values).estimate

    columns: dict[str, Callable[[tuple[str, str]], str]] = {
        "method": lambda row: row[1],
        "‖J‖²_F": lambda row: f"{middle(row[0], 'frobenius'):.3g}",
        "‖Jv‖²": lambda row: f"{middle(row[0], 'aligned'):.3g}",
        "‖Jv‖²/‖J‖²_F": lambda row: f"{middle(row[0], 'alignment'):.2f}",
        "stable rank": lambda row: f"{middle(row[0], 'stable_rank'):.2f}",
    }
    note = (
        "Jacobian of the action distribution at the agents' own states, in the metric of the "
        "policy, along the last gradient of MAD; interquartile means. At a stable rank below "
        "about 2 a penalty along the attack cannot differ much from one in all directions."
    )
    return Table.of("Sensitivity", columns, titles(results).items(), note)


def _strength_table(results: Record) -> Table:
    rows = []
    seed = results["protocol"]["final_seeds"][0]
    for name, title in titles(results).items():
        usual = next(a for a in agents_of(results, name) if a["seed"] == seed)
        strong = next(a for a in results["thorough"] if a["method"] == name)
        beside = tuple(one["name"] for one in results["protocol"]["beside"])
        searched = [
            attack for attack in strong["returns"] if not attack.startswith(("none", *beside))
        ]
        found = [worst(agent["returns"], searched) for agent in (usual, strong)]
        found += [worst(usual["returns"], SEVEN)]
        found += [worst(strong["returns"], beside)] if beside else []
        cells = [f"{value:.0f}\n{attack}" for value, attack in found]
        rows.append((title, *cells, f"{max(usual['largest_perturbation'].values()):.3g}"))
    protocol = results["protocol"]
    ascent = "projected gradient ascent of {} steps from {} starts".format
    usual_search = ascent(protocol["attack_steps"], protocol["attack_restarts"])
    if "vertices" in protocol["solvers"]:
        usual_search += " and every vertex of the ball"
    note = (
        f"One agent a method, seed {seed}. First the attacks that learn no policy, as reported: "
        f"{usual_search}, {protocol['episodes']} episodes; and thorough: "
        f"{ascent(protocol['thorough_steps'], protocol['thorough_restarts'])}, "
        f"{protocol['validation_episodes']} episodes. The last column is the greatest "
        "perturbation that reached a policy, in the unit of ε."
    )
    further = ("further attackers",) if protocol["beside"] else ()
    columns = ("method", "as reported", "thorough", "worst of seven", *further, "greatest ‖δ‖")
    if further:
        names = ", ".join(one["name"] for one in protocol["beside"])
        note += (
            f" Further attackers, of which none counts in the worst of seven: {names}; imap is "
            "rewarded by half for rare states."
        )
    return Table("Strength of the attacks", columns, tuple(rows), (note,))


def _tuning_table(results: Record) -> Table:
    rows = [
        entry | {"title": title, "knob": choice["knob"], "chosen": choice["value"]}
        for name, title in titles(results).items()
        for choice in [results["choices"][name]]
        for entry in choice["tried"]
    ]
    columns: dict[str, Callable[[Record], str]] = {
        "method": lambda row: row["title"],
        "knob": lambda row: row["knob"],
        "value": lambda row: f"{row['value']:g}",
        "natural": lambda row: f"{row['natural']:.0f}",
        "worst": lambda row: f"{row['worst']:.0f}",
        "": lambda row: "chosen" if row["value"] == row["chosen"] else "",
    }
    seeds = ", ".join(map(str, results["protocol"]["validation_seeds"]))
    note = (
        f"Validation seeds {seeds}, which are not used in the other tables, under the attacks "
        "random, MAD, critic, push, steer and a short PA-AD. All tuned methods have the same "
        "number of candidates."
    )
    return Table.of("Tuning", columns, rows, note)


REPORT = StudyReport("{protocol[environment]}", tables, PLOTS)
