"""The token search against exhaustive search, and its budget."""

import itertools

import pytest
import torch

pytest.importorskip("transformers")

from aajr.language import Objective, TokenSearch
from aajr.language.attacks.search import Problem
from tests.unit.language.models import case, generator, victim


def problem(slots=(1,), aim="wrong", seed=0, allowed=None):
    one = victim(seed)
    chat = one.chat(case())
    clean = one.answers([chat])[0]
    words = torch.tensor([w[:1] == " " and w[1:].isalpha() for w in one.vocabulary])
    places = [chat.controlled[i] for i in slots]
    mask = words.expand(len(places), -1) if allowed is None else allowed
    return Problem(one, chat, places, mask, Objective.of(one, chat, clean or "four", aim))


def brute(one):
    """The greatest F over all readable texts with allowed tokens in the slots."""
    best = -float("inf")
    options = [row.nonzero().flatten().tolist() for row in one.allowed]
    for tokens in itertools.product(*options):
        ids = list(one.chat.ids)
        for slot, token in zip(one.slots, tokens, strict=True):
            ids[slot] = token
        if one.read(tuple(ids)) is not None:
            best = max(best, float(one.values([tuple(ids)])[0]))
    return best


@pytest.mark.parametrize("aim", ["goal", "wrong"])
@pytest.mark.parametrize("seed", [0, 1])
def test_one_slot_is_searched_exhaustively(aim, seed):
    one = problem(aim=aim, seed=seed)
    found = TokenSearch(steps=1, width=1000, top=1000)(one, generator())
    start = float(one.values([tuple(one.chat.ids)])[0])
    assert found.gain == pytest.approx(max(brute(one) - start, 0.0), abs=1e-9)
    assert float(one.values([tuple(found.chat.ids)])[0]) - start == pytest.approx(found.gain)


def test_values_and_gradient_do_not_depend_on_the_batch_or_the_prefix():
    one = problem(slots=(2, 3))
    texts = [tuple(one.chat.ids)] * 7
    chat_ids = torch.tensor([one.chat.ids])
    point = one.victim.table(chat_ids).detach().requires_grad_()
    known = -one.victim.log_probability(point, one.objective.reply)
    torch.testing.assert_close(one.values(texts), known.detach().expand(7))
    (rate,) = torch.autograd.grad(known.sum(), point)
    table = one.victim.table.weight.detach()[: one.allowed.shape[1]]
    torch.testing.assert_close(one.gradient(texts[0]), rate[0, list(one.slots)] @ table.T)


def test_the_gradient_proposes_better_than_chance():
    gains = []
    for top in (4, 1000):
        search = TokenSearch(steps=1, width=4, top=top)
        gains.append(sum(search(problem(seed=s), generator(s)).gain for s in range(4)))
    assert gains[0] > gains[1]


@pytest.mark.parametrize("swaps", [1, 2])
def test_no_more_tokens_differ_than_the_budget_allows(swaps):
    one = problem(slots=(1, 2, 3, 4))
    found = TokenSearch(steps=6, width=40, swaps=swaps, budget=2)(one, generator())
    differ = sum(a != b for a, b in zip(found.chat.ids, one.chat.ids, strict=True))
    assert 0 < differ <= 2


def test_more_steps_find_more():
    one = problem(slots=(1, 2, 3, 4))
    short, long = (TokenSearch(steps=n, width=30)(one, generator()).gain for n in (1, 8))
    assert long > short > 0


def test_the_same_generator_finds_the_same():
    one = problem(slots=(1, 2, 3))
    first, again, other = (
        TokenSearch(steps=2, width=6, top=50)(one, generator(s)).chat.ids for s in (0, 0, 1)
    )
    assert first == again != other


def test_a_buffer_begins_at_the_best_of_its_texts_and_none_may_fall():
    one = problem(slots=(1, 2, 3, 4))
    searches = [TokenSearch(steps=1, width=1, top=1, buffer=n) for n in (1, 30)]
    alone, many = (search(one, generator()).gain for search in searches)
    assert many > alone
    assert TokenSearch(steps=5, width=3, buffer=0)(one, generator()).gain >= 0


def test_a_draft_that_agrees_saves_evaluations_and_finds_the_same(monkeypatch):
    one = problem(slots=(1, 2, 3))
    counted = []
    values = Problem.values

    def counting(self, texts):
        if self.victim is one.victim:
            counted.append(len(texts))
        return values(self, texts)

    monkeypatch.setattr(Problem, "values", counting)
    plain = TokenSearch(steps=1, width=200, top=60)(one, generator())
    alone = sum(counted)
    counted.clear()
    draft = TokenSearch(steps=1, width=200, top=60, draft=victim())(one, generator())
    assert draft.gain == plain.gain
    assert sum(counted) < alone / 4


def test_nothing_that_may_be_replaced_is_an_error():
    with pytest.raises(ValueError, match="or there is no slot"):
        problem(slots=())
    with pytest.raises(ValueError, match="allow other tokens"):
        problem(allowed=torch.zeros(1, len(victim().vocabulary), dtype=torch.bool))


@pytest.mark.parametrize("name", ["steps", "width", "top", "swaps", "budget"])
def test_settings_are_checked(name):
    with pytest.raises(ValueError, match=f"{name}=0"):
        TokenSearch(**{name: 0})
