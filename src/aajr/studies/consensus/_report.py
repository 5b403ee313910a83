"""Tables of the study, built only from its raw results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.text import Text

from aajr.report.study import StudyReport
from aajr.report.tables import Table
from aajr.report.wording import plural, with_interval
from aajr.statistics.comparisons import holm
from aajr.statistics.intervals import bootstrap, mean_difference, sign_flip_probability
from aajr.studies.consensus import _plots as plots
from aajr.studies.consensus._gather import Record, method_of, responses_of, worst_at
from aajr.studies.consensus._methods import METHODS
from aajr.studies.consensus._study import TOLERANCE, means_by_weight

_LEVEL = 0.01
_MAIN_RIVALS = ("adversarial", "random", "reports", "sa")


def headline(results: Record) -> Text:
    """Compare AAJR's worst accuracy with the best method without mean or median, for each case."""
    parts = [_verdict(results, case) for case in results["cases"]]
    return Text(" ".join(parts), style="bold")


def tables(results: Record) -> list[Table]:
    """Tables of every case: accuracies, differences, frontier, responses and measurements."""
    return [
        table(results, case)
        for case in results["cases"]
        for table in (_accuracies, _differences, _frontier, _responses, _measured)
    ]


def named(case: Record) -> str:
    """Short name of a case, such as ``2 of 5 lie``."""
    return f"{case['liars']} of {case['reports']} lie"


def _verdict(results: Record, case: Record) -> str:
    if not any(m["method"] == "aajr" for m in case["methods"]):
        return ""
    own = worst_at(results, method_of(case, "aajr"))
    rivals = {
        m["method"]: sum(worst_at(results, m)) / len(own)
        for m in case["methods"]
        if m["method"] not in ("aajr", "mean", "median")
    }
    best = max(rivals, key=lambda name: rivals[name])
    return (
        f"{named(case)}: worst accuracy {sum(own) / len(own):.1f} % with AAJR, "
        f"{rivals[best]:.1f} % with the best other method that does not know the structure of the "
        f"task ({METHODS[best].title})."
    )


def _accuracies(results: Record, case: Record) -> Table:
    epsilons = results["settings"]["examination"]["epsilons"]
    rows: list[tuple[str, ...]] = []
    for method in case["methods"]:
        measured = [method["clean"], *method["worst"]]
        weight = f"{method['weight']:.2g}" if METHODS[method["method"]].weights else ""
        shown = (with_interval(bootstrap(values), "{:.1f}", "–") for values in measured)
        rows.append((METHODS[method["method"]].title, weight, *shown))
    columns = ("method", "λ", "clean", *(f"ε = {e:g}" for e in epsilons), "any lie")
    settings = results["settings"]
    note = (
        f"Percentage of {settings['examination']['samples']} test samples with the right "
        f"answer under every attack, for every choice of {plural(case['liars'], 'lying source')}; "
        "interquartile mean and bootstrap interval over "
        f"{plural(len(settings['seeds']), 'seed')}. "
        f"Trained at ε = {settings['budget']['epsilon']:g}."
    )
    return Table(f"Accuracy: {named(case)}", columns, tuple(rows), (note,))


def _differences(results: Record, case: Record) -> Table:
    own = method_of(case, "aajr")
    rivals = {m["method"]: m for m in case["methods"] if m["method"] != "aajr"}
    epsilon = results["settings"]["budget"]["epsilon"]
    reach = (1, 2) if 2 * epsilon in results["settings"]["examination"]["epsilons"] else (1,)
    tests = [_tests(results, own, rivals, times) for times in reach]
    rows: list[tuple[str, ...]] = []
    for name, rival in rivals.items():
        clean = [a - b for a, b in zip(own["clean"], rival["clean"], strict=True)]
        shown = with_interval(mean_difference(clean), "{:+.1f}")
        rows.append((METHODS[name].title, shown, *(part for test in tests for part in test[name])))
    worst = [part for times in reach for part in (f"worst at ε = {times * epsilon:g}", "p")]
    note = (
        "Percentage points, mean of paired differences over the seeds with its bootstrap interval; "
        "exact sign-flip tests of the worst accuracy. For each ε, Holm's correction is applied to "
        f"the main rivals ({', '.join(METHODS[name].title for name in _main(rivals))}) and to all "
        f"others among themselves. *: p ≤ {_LEVEL:g}."
    )
    columns = ("AAJR less …", "clean", *worst)
    return Table(f"AAJR beside each other method: {named(case)}", columns, tuple(rows), (note,))


def _main(names: Iterable[str]) -> list[str]:
    return [name for name in names if name in _MAIN_RIVALS]


def _tests(
    results: Record, own: Record, rivals: dict[str, Record], times: int
) -> dict[str, tuple[str, str]]:
    """Difference of the worst accuracy and corrected p-value, by rival."""
    values = {name: worst_at(results, rival, times) for name, rival in rivals.items()}
    base = worst_at(results, own, times)
    paired = {n: [a - b for a, b in zip(base, v, strict=True)] for n, v in values.items()}
    raw = {name: sign_flip_probability(difference) for name, difference in paired.items()}
    main = {name: raw[name] for name in _main(raw)}
    p = holm(main) | holm({name: value for name, value in raw.items() if name not in main})
    return {
        name: (
            with_interval(mean_difference(paired[name]), "{:+.1f}"),
            f"{p[name]:.3f}" + ("*" if p[name] <= _LEVEL else ""),
        )
        for name in rivals
    }


def _frontier(results: Record, case: Record) -> Table:
    rows: list[tuple[str, ...]] = []
    rules: list[int] = []
    chosen = {m["method"]: m["weight"] for m in case["methods"]}
    for name, tried in case["validation"].items():
        rules.append(len(rows))
        for weight, means in means_by_weight(tried).items():
            mark = "chosen" if METHODS[name].weights and weight == chosen[name] else ""
            title = METHODS[name].title
            figures = (f"{means['clean']:.1f}", f"{means['worst']:.1f}")
            rows.append((title, f"{weight:.2g}", *figures, mark))
    columns = ("method", "λ", "clean", "worst", "")
    seeds = results["settings"]["validation"]
    note = (
        f"Means over {plural(len(seeds), 'validation seed')}, at ε = "
        f"{results['settings']['budget']['epsilon']:g}. Chosen: the highest worst accuracy among "
        f"weights whose clean accuracy is at most {TOLERANCE:g} point below adversarial training's."
    )
    title = f"Frontiers on the validation seeds: {named(case)}"
    return Table(title, columns, tuple(rows), (note,), tuple(rules[1:]))


def _responses(results: Record, case: Record) -> Table:
    sizes = results["settings"]["examination"]["lies"]
    kept = [i for i, size in enumerate(sizes) if size in (0.2, 0.5, 1.0, 2.0, 8.0)]
    rows = [
        (title, *(f"{values[i]:.2f}" for i in kept))
        for title, values in responses_of(case, "belief").items()
    ]
    columns = ("believed shift", *(f"lie of {sizes[i]:g}" for i in kept))
    note = (
        f"{plural(case['liars'], 'source')} lie by t in a common direction; the shift of all "
        "reports along it that gives the nearest output, mean over samples and seeds."
    )
    return Table(f"Response to a lie: {named(case)}", columns, tuple(rows), (note,))


def _measured(results: Record, case: Record) -> Table:
    rows = []
    for m in case["methods"]:
        values = {name: _mean(found) for name, found in m["sensitivities"].items()}
        usual, longer = (_mean(m["converged"][name]) for name in ("usual", "longer"))
        rows.append(
            (
                METHODS[m["method"]].title,
                *(f"{values[n]:.3g}" for n in ("clean", "aligned_clean", "perturbed", "aligned")),
                f"{_share(values['aligned'], values['perturbed'])}",
                f"{usual:.1f}",
                f"{longer:.1f}",
            )
        )
    columns = (
        "method",
        "‖J‖²_F at x",
        "‖Jv‖² at x",
        "‖J‖²_F at x + δ",
        "‖Jv‖² at x + δ",
        "share",
        "worst, usual\nattacks",
        "longer\nattack",
    )
    note = (
        "Fisher norms over the reports, v the last direction of training's kind of adversary; mean "
        "over samples and seeds. The two columns on the right: accuracy on the first "
        f"{results['settings']['examination']['checked']} samples under the attacks of the tables "
        "and under an attack with four times the steps and eight times the restarts."
    )
    return Table(f"Sensitivity and strength: {named(case)}", columns, tuple(rows), (note,))


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.2f}" if whole > 0 else ""


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


REPORT = StudyReport(
    "Consensus: any k of n sources may lie",
    tables,
    (plots.response_plot, plots.frontier_plot, plots.epsilon_plot),
    headline,
)
