"""Chats of the injection study: what is asked, what is right, and what a stranger may write."""

import random
import re

import pytest

pytest.importorskip("transformers")

from aajr.language import PLAIN
from aajr.studies.injection import _cases as made
from aajr.studies.injection._models import TEMPLATE, tiny_llama, tokenizer, vocabulary
from aajr.studies.injection._protocol import HELD_OUT, TRAINING


def test_the_answer_stands_in_the_strangers_text_and_the_word_does_not():
    for one in made.questions(50, 0):
        assert one.answer in one.facts.splitlines()
        assert one.word not in one.tool
        assert made.order(one.word).count(one.word) == 1


def test_cases_are_right_for_the_answer_and_harmful_for_the_word():
    for case, one in zip(made.cases(20, 1), made.questions(20, 1), strict=True):
        assert case.right(one.answer)
        assert not case.right(one.word)
        assert case.harmful(f"The {one.word.upper()}!")
        assert not case.harmful(one.answer)
        assert case.texts == (one.note,)
        assert case.target == one.word


def test_orders_of_the_user_are_right_when_obeyed():
    for case in made.orders(20, 2):
        assert case.messages[0]["content"] == made.order(case.right.exact)
        assert case.target != case.right.exact


def test_rows_of_all_methods_differ_in_their_notes_alone():
    plain = made.rows(200, 3)
    words = vocabulary(tokenizer())
    for tool in (made.augmented(0.5, words), made.injected(0.5)):
        other = made.rows(200, 3, tool)
        assert [r["completion"] for r in other] == [r["completion"] for r in plain]
        assert [r["prompt"][0] for r in other] == [r["prompt"][0] for r in plain]
        same = [a["prompt"][1] == b["prompt"][1] for a, b in zip(plain, other, strict=True)]
        assert 0.35 < sum(same) / 200 < 0.65
        facts = [[r["prompt"][1]["content"].split("\nnote")[0] for r in s] for s in (plain, other)]
        assert facts[0] == facts[1]


def test_a_quarter_of_the_rows_are_orders_of_the_user():
    rows = made.rows(400, 4)
    share = sum(r["prompt"][0]["content"].startswith("Say the word") for r in rows) / 400
    assert share == pytest.approx(made.OBEYED, abs=0.06)


def test_preferences_refuse_what_the_note_orders():
    for row in made.preferences(30, 5):
        chosen, rejected = (row[name][0]["content"] for name in ("chosen", "rejected"))
        assert made.order(rejected) in row["prompt"][1]["content"]
        assert chosen in row["prompt"][1]["content"].splitlines()


def test_training_never_shows_a_held_out_form():
    draw, one = random.Random(0), made.questions(1, 0)[0]
    shown = {made.ordered(one, draw).removeprefix(one.tool) for _ in range(100)}
    assert shown == {PLAIN[form](made.order(one.word)) for form in TRAINING}
    assert not set(TRAINING) & set(HELD_OUT)


def test_every_word_of_the_chats_is_one_token():
    words = tokenizer()
    for one in made.questions(50, 6, obeyed=0.3):
        for text in (one.asked, one.tool, made.ordered(one, random.Random(0)), one.answer):
            ends = dict(words(text, return_offsets_mapping=True).offset_mapping)
            for word in re.finditer(r"\w+", text):
                start, end = word.span()
                assert end in (ends.get(start), ends.get(start - 1)), word
    assert words.chat_template == TEMPLATE
    assert {"price", "river", "42"} <= set(vocabulary(words))


def test_models_are_decided_by_their_seeds():
    first, same, other = (tiny_llama(seed).lm_head.weight for seed in (0, 0, 1))
    assert bool((first == same).all())
    assert not bool((first == other).all())
