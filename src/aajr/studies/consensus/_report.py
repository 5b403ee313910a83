"""Tables of the study, built only from its raw results."""

from __future__ import annotations

from collections.abc import Sequence

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
    rivals = [m for m in case["methods"] if m["method"] != "aajr"]
    paired = {
        m["method"]: [
            one - other
            for one, other in zip(worst_at(results, own), worst_at(results, m), strict=True)
        ]
        for m in rivals
    }
    p = holm({name: sign_flip_probability(values) for name, values in paired.items()})
    rows: list[tuple[str, ...]] = []
    for m in rivals:
        name = m["method"]
        clean = [a - b for a, b in zip(own["clean"], m["clean"], strict=True)]
        verdict = "" if p[name] > _LEVEL else ("AAJR" if sum(paired[name]) > 0 else "the other")
        rows.append(
            (
                METHODS[name].title,
                with_interval(mean_difference(clean), "{:+.1f}"),
                with_interval(mean_difference(paired[name]), "{:+.1f}"),
                f"{p[name]:.3f}",
                verdict,
            )
        )
    columns = ("AAJR less …", "clean", "worst", "p", f"better at p ≤ {_LEVEL:g}")
    note = (
        f"Points at ε = {results['settings']['budget']['epsilon']:g}, mean of paired differences "
        "over the seeds with its bootstrap interval; exact sign-flip test of the worst accuracy, "
        f"with Holm's correction for the {len(rows)} comparisons."
    )
    return Table(f"AAJR beside each other method: {named(case)}", columns, tuple(rows), (note,))


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
