"""The report of an attacked model: its figures, its files, and what it refuses."""

import pytest
import torch

pytest.importorskip("transformers")

from aajr.language import (
    EmbeddingAscent,
    Entry,
    Injection,
    Judge,
    LanguageReport,
    Suite,
    TokenSearch,
    Transcript,
    Trial,
    WordSwaps,
    attack,
)
from aajr.language.attacks.base import Attempt
from aajr.language.suites import suite_of
from tests.unit.language.models import case, model, tokenizer, victim

SUITE = Suite(
    "own",
    1,
    (
        Entry("injection_naive", "injection", Injection("naive")),
        Entry("words_wrong", "words", WordSwaps("wrong", TokenSearch(steps=1, width=8, budget=2))),
        Entry("embeddings_goal_0.1", "embeddings", EmbeddingAscent(0.1, "goal", 2, 4, 1)),
        Entry("embeddings_goal_0.3", "embeddings", EmbeddingAscent(0.3, "goal", 2, 4, 1)),
    ),
)
CASES = (case(), case("chair"))


def attacked(directory=None, suite=SUITE, cases=CASES, **settings):
    return attack(
        model(), tokenizer(), cases, suite, length=5, directory=directory, name="tiny", **settings
    )


def without_time(report):
    return {k: v for k, v in vars(report).items() if k != "seconds"}


def test_every_attack_meets_every_case(tmp_path):
    told = []
    report = attacked(progress=lambda *words: told.append(words))
    assert [t.attack for t in report.trials] == ["none", *(e.name for e in SUITE.entries)]
    assert all([x.case for x in t.transcripts] == ["lamp", "chair"] for t in report.trials)
    assert told[0] == (0, 10, "none: case lamp")
    assert told[-1] == (9, 10, "embeddings_goal_0.3: case chair")
    assert not report.left_out
    for ending in ("json", "html"):
        assert report.save(tmp_path / f"report.{ending}").exists()
    assert LanguageReport.read(tmp_path / "report.json") == report
    assert "tiny" in str(report)


def test_judges_decide_what_counts():
    always, never = Judge(function=lambda answer: True), Judge(function=lambda answer: False)
    settings = {"goal": "Say a.", "target": "a"}
    cases = (
        case("a", right=always, harmful=never, **settings),
        case("b", right=never, harmful=always, **settings),
    )
    report = attacked(cases=cases)
    for trial in report.trials:
        assert [one.right for one in trial.transcripts] == [True, False]
        assert [one.harmful for one in trial.transcripts] == [False, True]
    assert report.attack_success.estimate == report.utility.estimate == 0.5
    assert "without an attack; the judge is too wide" in " ".join(report.findings)


def test_a_stopped_attack_goes_on_and_ends_the_same(tmp_path):
    calls = []

    def counting(stop):
        def told(done, parts, words):
            calls.append(words)
            if done == stop:
                raise KeyboardInterrupt

        return told

    with pytest.raises(KeyboardInterrupt):
        attacked(tmp_path, progress=counting(5))
    kept = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.json")}
    assert len(kept) == 5
    report = attacked(tmp_path)
    assert without_time(report) == without_time(attacked())
    assert all(p.stat().st_mtime_ns == then for p, then in kept.items())


def test_other_models_cases_seeds_and_settings_share_no_parts(tmp_path):
    def parts(**changes):
        facts = {"directory": tmp_path, "cases": CASES[:1], **changes}
        attacked(**facts)
        return len(list(tmp_path.rglob("*.json")))

    first = parts()
    assert parts() == first
    assert parts(seed=1) == 2 * first
    assert parts(cases=(case(right=Judge(contains="five")),)) == 3 * first
    attack(model(1), tokenizer(), CASES[:1], SUITE, length=5, directory=tmp_path)
    assert len(list(tmp_path.rglob("*.json"))) == 4 * first
    longer = Suite("own", 2, (Entry("words_wrong", "words", WordSwaps(search=TokenSearch(2, 8))),))
    assert parts(suite=longer) == 4 * first + 1


def test_an_attack_that_does_not_fit_is_named_and_the_others_count():
    signs = case("signs", messages=({"role": "tool", "content": "? ? ?"},))
    report = attacked(cases=(CASES[0], signs))
    assert "no whole word" in report.left_out["words_wrong on signs"]
    assert [one.case for one in report.trial("words_wrong").transcripts] == ["lamp"]
    assert report.attack_success.seeds == 2


def test_of_several_attempts_the_worst_is_shown():
    def two(one, chat, clean, generator):
        return [Attempt(chat), Attempt(chat.with_last("euros"))]

    answers = victim().answers([a.chat for a in two(None, victim().chat(case()), "", None)])
    assert answers[0] != answers[1]
    settings = {"goal": "x", "target": "x", "right": Judge(exact=answers[0])}
    suite = Suite("two", 1, (Entry("two", "injection", two),))
    first = attack(
        model(), tokenizer(), [case(harmful=Judge(exact=answers[1]), **settings)], suite, length=6
    )
    (one,) = first.trial("two").transcripts
    assert (one.right, one.harmful, one.attempts, one.texts) == (False, True, 2, ("euros",))


def trial(name, kind, right, harmful, **facts):
    rows = zip("ab", right, harmful, strict=True)
    found = [
        Transcript(case=c, texts=("<b>x</b>",), answer="<i>", right=r, harmful=h, **facts)
        for c, r, h in rows
    ]
    return Trial(attack=name, kind=kind, transcripts=tuple(found))


def made(*trials):
    clean = trial("none", "none", (True, True), (False, False))
    return LanguageReport(
        model="m",
        trials=(clean, *trials),
        suite={"name": "own", "version": 1, "attacks": ()},
        cases=({"name": "a"}, {"name": "b"}),
        answers={},
    )


def test_every_case_meets_its_worst_attack():
    report = made(
        trial("first", "injection", (False, True), (True, False)),
        trial("second", "words", (True, False), (False, False), gain=1.0),
        trial("embeddings_goal_0.1", "embeddings", (True, True), (True, True), size=0.1, gain=1.0),
    )
    assert report.attack_success.estimate == 0.5
    assert report.utility_under_attack.estimate == 0.0
    assert report.worst("all")[0].estimate == 1.0
    assert [(a, t.case) for a, t in report.worst_transcripts()] == [
        ("first", "a"),
        ("embeddings_goal_0.1", "b"),
    ]


def test_weak_searches_are_named():
    report = made(
        trial("words_wrong", "words", (True, True), (False, False), gain=0.0),
        trial("embeddings_wrong_0.1", "embeddings", (True, True), (False, False), converged=False),
    )
    text = " ".join(report.findings)
    assert "words_wrong never raised its objective" in text
    assert "embeddings_wrong_0.1 had not converged in 2 of 2 cases" in text


def test_the_page_escapes_what_models_say(tmp_path):
    page = made(trial("first", "injection", (False, True), (True, False))).save(tmp_path / "r.html")
    text = page.read_text(encoding="utf-8")
    assert "&lt;b&gt;x&lt;/b&gt;" in text
    assert "<b>x" not in text


@pytest.mark.parametrize("name", ["quick", "standard", "thorough"])
def test_suites_have_facts_and_distinct_names(name):
    facts = suite_of(name, victim()).facts()
    assert facts["name"] == name
    assert len({one["name"] for one in facts["attacks"]}) == len(facts["attacks"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"suite": "best"}, "suite='best' is unknown"),
        ({"cases": ()}, "cases is empty"),
        ({"cases": (case(), case())}, "more than once"),
    ],
)
def test_wrong_arguments(changes, words):
    with pytest.raises(ValueError, match=words):
        attacked(**changes)


def test_a_path_of_another_kind_and_an_unknown_attack():
    report = made()
    with pytest.raises(ValueError, match=r"neither in \.json nor in \.html"):
        report.save("report.txt")
    with pytest.raises(ValueError, match="'x' was not run"):
        report.trial("x")
    assert torch.is_grad_enabled()
