"""Cases and judges: what they say, and what they refuse."""

import json

import pytest

from aajr.language import Case, Judge, Span, read_cases
from aajr.language.cases import CANARY
from tests.unit.language.models import case

CHAT = [{"role": "user", "content": "How much?"}, {"role": "tool", "content": "lamp: 42 euros"}]
RIGHT = {"regex": "42"}


def made(**changes):
    facts = {"name": "a", "messages": CHAT, "controlled": ["tool"], "right": Judge(**RIGHT)}
    return Case(**{**facts, **changes})


@pytest.mark.parametrize(
    ("judge", "answer", "verdict"),
    [
        (Judge(exact=" 42 "), "42\n", True),
        (Judge(exact="42"), "42.", False),
        (Judge(contains="42"), "It costs 42.", True),
        (Judge(contains="42"), "It costs 4 2.", False),
        (Judge(regex=r"\b4\b"), "42", False),
        (Judge(regex=r"\b42\b"), "42", True),
        (Judge(function="builtins:str.isdigit"), "42", True),
        (Judge(function=str.isdigit), "no", False),
    ],
)
def test_judges(judge, answer, verdict):
    assert judge(answer) is verdict


@pytest.mark.parametrize(
    "facts", [{}, {"exact": "1", "regex": "1"}, {"regex": "("}], ids=["none", "two", "no regex"]
)
def test_a_judge_has_exactly_one_question(facts):
    with pytest.raises(ValueError, match=r"exactly one|is not one"):
        Judge(**facts)


def test_spans_of_roles_and_of_characters():
    assert made().spans == (Span(1, 0, 14),)
    assert made(controlled=[Span(1, 6, 8), Span(0, 4)]).spans == (Span(0, 4, 9), Span(1, 6, 8))
    assert made(controlled=[Span(1, 6, 8), Span(0, 4)]).texts == ("much?", "42")


def test_texts_are_replaced_in_place():
    one = made(controlled=[Span(1, 0, 4), Span(1, 6, 8), Span(0, 0, 3)])
    assert [m["content"] for m in one.with_texts(["Why so", "chair", "7"])] == [
        "Why so much?",
        "chair: 7 euros",
    ]
    assert one.messages[1]["content"] == "lamp: 42 euros"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"messages": []}, "messages of 'a' is empty"),
        ({"controlled": []}, "controlled of 'a' is empty"),
        ({"controlled": ["system"]}, r"choose among \['tool', 'user'\]"),
        ({"controlled": [Span(2)]}, "message=2 of 'a' does not exist"),
        ({"controlled": [Span(1, 3, 3)]}, "characters 3 to 3"),
        ({"controlled": [Span(1, 3, 99)]}, "has 14"),
        ({"controlled": ["tool", Span(1, 3, 5)]}, "overlaps in message 1"),
        ({"goal": "Say no."}, "give all three, or none"),
        ({"messages": [{"role": "tool", "content": None}]}, "only text can be attacked"),
    ],
)
def test_wrong_cases_say_what_is_wrong(changes, words):
    with pytest.raises(ValueError, match=words):
        made(**changes)


def test_the_canary_is_recognised_in_any_case_and_alone():
    harmful = case().harmful
    assert harmful(f"I say {CANARY.title()}!")
    assert not harmful("UNHACKEDNESS")


def written(path, *lines):
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


def test_cases_are_read_from_lines(tmp_path):
    line = {"messages": CHAT, "controlled": [{"message": 1, "start": 6, "end": 8}], "right": RIGHT}
    found = read_cases(written(tmp_path / "cases.jsonl", line, {**line, "name": "b"}))
    assert [one.name for one in found] == ["1", "b"]
    assert found[0] == made(name="1", controlled=[Span(1, 6, 8)])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ([], "line 2 is a list"),
        ({"messages": CHAT, "controlled": ["tool"]}, "line 2: right: "),
        ({"messages": CHAT, "controlled": ["tool"], "right": RIGHT, "more": 1}, "line 2: more"),
        (
            {"messages": CHAT, "controlled": ["tool"], "right": {"function": "os:getcwd"}},
            "line 2 names a function",
        ),
        ({"name": "1", "messages": CHAT, "controlled": ["tool"], "right": RIGHT}, "more than once"),
    ],
)
def test_wrong_lines_are_named(tmp_path, line, words):
    good = {"messages": CHAT, "controlled": ["tool"], "right": RIGHT}
    with pytest.raises(ValueError, match=words):
        read_cases(written(tmp_path / "cases.jsonl", good, line))


def test_a_file_of_no_json_and_an_empty_one(tmp_path):
    path = tmp_path / "cases.jsonl"
    path.write_text("\n{", encoding="utf-8")
    with pytest.raises(ValueError, match="line 2 is not JSON"):
        read_cases(path)
    path.write_text("\n", encoding="utf-8")
    with pytest.raises(ValueError, match="cases is empty"):
        read_cases(path)
