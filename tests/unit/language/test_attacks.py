"""Every attack writes only where it may, and searches raise what they search for."""

import base64
import codecs

import pytest
import torch

pytest.importorskip("transformers")

from aajr.language import (
    FORMS,
    BestOfN,
    EmbeddingAscent,
    Injection,
    Objective,
    Span,
    Suffix,
    TokenSearch,
    WordSwaps,
)
from aajr.language.attacks.best_of_n import disturbed
from aajr.language.attacks.tokens import whole_words
from tests.unit.language.models import case, generator, victim

ATTACKS = {
    **{form: Injection(form) for form in FORMS},
    "best_of_n": BestOfN(6),
    "words": WordSwaps(search=TokenSearch(steps=2, width=20, budget=2)),
    "goal": WordSwaps("goal", TokenSearch(steps=2, width=20)),
    "suffix": Suffix(4, search=TokenSearch(steps=2, width=20)),
    "embeddings": EmbeddingAscent(0.1, steps=3, most=6, restarts=1),
}


def attacked(name, one=None, chat=None, seed=0):
    one = one or victim()
    chat = chat or one.chat(case(controlled=["user", "tool"]))
    return one, chat, ATTACKS[name](one, chat, one.answers([chat])[0] or "four", generator(seed))


@pytest.mark.parametrize("name", ATTACKS)
def test_only_the_other_partys_text_changes(name):
    _, chat, attempts = attacked(name)
    for one in attempts:
        before, after = chat.case.with_texts(chat.texts), chat.case.with_texts(one.chat.texts)
        assert after[0] == before[0]
        assert [m["role"] for m in after] == [m["role"] for m in before]
        changed = one.chat.texts != chat.texts or one.embeddings is not None
        assert changed or one.gain == 0


@pytest.mark.parametrize("name", ["best_of_n", "words", "suffix", "embeddings"])
def test_the_generator_decides(name):
    def shown(seed):
        attempts = attacked(name, seed=seed)[2]
        return [
            a.chat.texts if a.embeddings is None else a.embeddings.sum().item() for a in attempts
        ]

    assert shown(0) == shown(0)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_holds_the_order(form):
    _, chat, (attempt,) = attacked(form)
    said, goal = attempt.chat.texts[-1], chat.case.goal
    assert said.startswith(chat.texts[-1])
    coded = {
        "base64": base64.b64encode(goal.encode()).decode(),
        "rot13": codecs.encode(goal, "rot13"),
    }
    assert coded.get(form, goal) in said


@pytest.mark.parametrize(
    ("form", "roles"),
    [
        ("fake_system", ["tool", "system"]),
        ("fake_user", ["tool", "user"]),
        ("fake_answer", ["tool", "assistant", "user"]),
    ],
)
def test_fake_turns_are_read_as_turns(form, roles):
    one, _, (attempt,) = attacked(form)
    spans = one.template.spans(attempt.chat.text)
    written = [role for role, start, _ in spans if start >= attempt.chat.spans[-1][0]]
    assert written == [*roles, "assistant"]  # the last turn waits for the answer


def test_best_of_n_disturbs_and_keeps_the_words_of_mild_copies():
    _, _, attempts = attacked("best_of_n")
    assert len({one.chat.texts for one in attempts}) == 6
    text = "Reply with the word and nothing else"
    mild = disturbed(text, generator(), mild=True)
    assert mild.lower() == text.lower()
    assert sorted(disturbed(text, generator()).lower()) != sorted(text)
    assert disturbed(text, generator()).lower() != text.lower()


def test_words_are_swapped_for_words_within_the_budget():
    one = victim()
    chat = one.chat(case())
    assert [chat.text[slice(*chat.offsets[i])] for i in whole_words(one, chat)] == [
        "the",
        " red",
        " lamp",
        " costs",
        " four",
        " euros",
    ]
    (attempt,) = ATTACKS["words"](one, chat, "four", generator())
    before, after = chat.texts[0].split(" "), attempt.chat.texts[0].split(" ")
    assert len(after) == len(before)
    assert 0 < sum(a != b for a, b in zip(after, before, strict=True)) <= 2
    assert all(word.isalnum() for word in after)


@pytest.mark.parametrize("name", ["words", "goal", "embeddings"])
def test_the_gain_is_measured_on_what_the_model_reads(name):
    one, chat, (attempt,) = attacked(name)
    clean = one.answers([chat])[0] or "four"
    objective = Objective.of(one, chat, clean, "goal" if name == "goal" else "wrong")
    shown = one.embedded([attempt.chat.ids])
    shown = shown if attempt.embeddings is None else attempt.embeddings[None]
    with torch.no_grad():
        before, after = (
            objective.sign * one.log_probability(x, objective.reply)
            for x in (one.embedded([chat.ids]), shown)
        )
    assert attempt.gain == pytest.approx(float(after - before), abs=1e-6)
    assert attempt.gain > 0


def test_the_suffix_stands_behind_the_order_and_is_readable():
    _, chat, (attempt,) = attacked("suffix")
    order, suffix = attempt.chat.texts[-1].rsplit(chat.case.goal, 1)
    assert order.startswith(chat.texts[-1])
    assert suffix.isascii()


@pytest.mark.parametrize("radius", [0.02, 0.5])
@pytest.mark.parametrize("aim", ["goal", "wrong"])
def test_embeddings_move_by_the_radius_and_only_where_they_may(radius, aim):
    one = victim()
    chat = one.chat(case(controlled=[Span(2, 4, 12)]))
    attack = EmbeddingAscent(radius, aim, steps=4, most=8, restarts=2)
    (attempt,) = attack(one, chat, "four", generator())
    e = one.embedded([chat.ids])[0]
    moved = (attempt.embeddings - e).norm(dim=-1)
    assert (moved > 0).nonzero().flatten().tolist() == chat.controlled
    size = float(moved.norm() / e[chat.controlled].norm())
    assert attempt.size == pytest.approx(size)
    assert size <= radius * (1 + 1e-6)
    assert attempt.gain > 0


def test_a_larger_radius_and_a_longer_search_gain_more():
    one = victim()
    chat = one.chat(case())

    def gain(radius, **steps):
        attack = EmbeddingAscent(radius, "goal", restarts=1, **steps)
        return attack(one, chat, "four", generator())[0]

    small, large = gain(0.01, steps=10, most=40), gain(0.3, steps=10, most=40)
    assert large.gain > small.gain > 0
    assert not gain(0.3, steps=10, most=19).converged
    assert small.converged


def test_no_word_and_no_answer_are_errors():
    one = victim()
    chat = one.chat(case(controlled=[Span(2, 3, 7)]))
    assert [chat.text[slice(*chat.offsets[i])] for i in chat.controlled] == [" red"]
    with pytest.raises(ValueError, match="the answer of 'lamp' is '', which has no tokens"):
        WordSwaps("wrong")(one, chat, "", generator())
    signs = one.chat(case(messages=({"role": "tool", "content": "? ?"},)))
    with pytest.raises(ValueError, match="no whole word"):
        WordSwaps("goal")(one, signs, "four", generator())


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (Injection, {"form": "polite"}),
        (BestOfN, {"attempts": 0}),
        (Suffix, {"length": 0}),
        (WordSwaps, {"aim": "right"}),
        (EmbeddingAscent, {"radius": 0.0}),
        (EmbeddingAscent, {"radius": 0.1, "aim": "right"}),
        (EmbeddingAscent, {"radius": 0.1, "steps": 8, "most": 4}),
        (EmbeddingAscent, {"radius": 0.1, "restarts": 0}),
    ],
)
def test_settings_are_checked(kind, settings):
    with pytest.raises(ValueError, match="="):
        kind(**settings)


def test_parameters_keep_no_gradients():
    one = victim()
    for name in ("words", "suffix", "embeddings"):
        attacked(name, one)
    assert all(p.grad is None for p in one.model.parameters())
    assert torch.is_grad_enabled()
