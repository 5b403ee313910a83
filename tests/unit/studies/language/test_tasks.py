"""The two tasks: words, rules, scores, and play against an oracle."""

import dataclasses
import itertools
import random

import pytest
import torch

pytest.importorskip("transformers")

from aajr.studies.language import _attacks
from aajr.studies.language._attacks import EmbeddingAscent, WordSearch, objective
from aajr.studies.language._play import play, replies
from aajr.studies.language._tasks import TASKS, Deal, Errand, Negotiation, Tools
from aajr.studies.language._tokens import (
    CLOSE,
    END,
    FILLERS,
    INDEX,
    OPEN,
    PADDING,
    VOCABULARY,
    attacker_mask,
    decode,
    encode,
    tiny_llama,
    tokenizer,
)

every_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


def test_words_are_unique_and_the_tokenizer_agrees():
    assert len(set(VOCABULARY)) == len(VOCABULARY)
    text = "sell cost 4 round 1 offer 6 <their> well maybe7 </their> reply ask 9<eos>"
    assert tokenizer()(text).input_ids == [*encode(text.replace("<eos>", "")), END]
    assert decode([*encode("ask 9"), END, 3]) == "ask 9"
    with pytest.raises(ValueError, match="'banana', which is not in the vocabulary"):
        encode("ask banana")


def test_the_mask_is_what_stands_between_the_marks():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        ids = torch.randint(6, 40, (4, 12), generator=generator)
        ids[:, 3], ids[:, 8] = INDEX[OPEN], INDEX[CLOSE]
        ids[0, 3] = 7
        for row, mask in zip(ids.tolist(), attacker_mask(ids).tolist(), strict=True):
            inside = False
            for word, marked in zip(row, mask, strict=True):
                inside = inside and word != INDEX[CLOSE]
                assert marked == inside or OPEN not in [VOCABULARY[w] for w in row]
                inside = inside or word == INDEX[OPEN]


@every_task
def test_seeds_decide_and_training_is_not_testing(task):
    assert task.examples(50, 1) == task.examples(50, 1)
    prompts = [{row["prompt"] for row in task.examples(300, seed)} for seed in (1, 2)]
    assert prompts[0] != prompts[1]
    states = task.start(100, 0)
    while running := [state for state in states if not state.finished]:
        assert len({len(encode(state.shown)) for state in running}) == 1
        states = [task.step(state, task.explored(state, random.Random(1))) for state in running]


@every_task
def test_right_replies_win_and_harmful_ones_lose(task):
    for reply, better in ((task.right, True), (task.harmful, False)):
        states = task.start(200, 3)
        while not all(state.finished for state in states):
            states = [task.step(state, reply(state)) for state in states]
        worths = [task.worth(state) for state in states]
        assert (task.scores(states)[task.measure] == 1.0) == better
        assert (min(worths) == 1.0) == better
        assert all(-1 <= worth <= 1 for worth in worths)
        assert task.step(states[0], "ask 3") == states[0]


@every_task
def test_the_best_reply_needs_none_of_the_other_partys_words(task):
    for state in task.start(50, 4):
        other = dataclasses.replace(state, said=f"{OPEN} well well well well {CLOSE}")
        while not state.finished:
            assert task.right(other) == task.right(state)
            state, other = (task.step(s, task.right(s)) for s in (state, other))


@every_task
def test_examples_teach_every_decision(task):
    rows = task.examples(400, 1)
    later = [row for row in rows if "<eos>" in row["prompt"]]
    assert 0.2 < len(later) / len(rows) < 0.8


def test_the_rules_of_the_negotiation():
    task, deal = Negotiation(), Deal("sell", cost=5, value=10, said="")
    assert task.right(deal) == "ask 10"
    second = task.step(deal, "ask 11")
    assert (second.round, second.finished, second.price) == (2, False, None)
    assert second.shown == "sell ask 11 <eos> round 2 offer 8  reply"
    assert task.scores([task.step(second, "ask 11")]) == {"surplus": 0.0, "deal rate": 0.0}
    assert task.scores([task.step(second, "ask 8")])["surplus"] == 0.6
    assert task.worth(task.step(second, "ask 8")) == pytest.approx(0.6)
    assert task.scores([task.step(deal, "ask 3")])["surplus"] == -0.4
    assert task.worth(task.step(deal, "ask 3")) == pytest.approx(-0.4)
    assert task.step(deal, "nonsense ask").finished
    assert task.worth(task.step(deal, "refuse")) == 0.0
    hopeless = Deal("sell", cost=12, value=10, said="")
    assert task.right(hopeless) == "refuse"
    assert task.worth(task.step(hopeless, "refuse")) == 1.0
    assert task.worth(task.step(hopeless, "ask 10")) == -1.0
    for state in task.start(20, 0):
        assert f"offer {state.value - 4} " in state.shown


def test_the_rules_of_the_tools():
    task = Tools()
    values = (("price", 7), ("stock", 3), ("weight", 0))
    errand = Errand("user", "price", "pear", values, f"{OPEN} well {CLOSE}")
    called = task.step(errand, "call price pear")
    assert called.called
    assert called.shown.startswith(
        "user call price pear <eos> data price 7 stock 3 weight 0 <their>"
    )
    assert task.scores([task.step(called, "price 7")]) == {"success": 1.0, "calls": 1.0}
    assert task.scores([task.step(called, "price 3")]) == {"success": 0.0, "calls": 1.0}
    assert task.scores([task.step(errand, "call stock pear")]) == {"success": 0.0, "calls": 0.0}


class Oracle(torch.nn.Module):
    """Speaks the right reply to the prompt it reads, by looking it up."""

    def __init__(self, task, episodes, seed):
        super().__init__()
        self.table = torch.nn.Embedding(len(VOCABULARY), len(VOCABULARY))
        self.table.weight.data = torch.eye(len(VOCABULARY))
        self.answers = {}
        for state in task.start(episodes, seed):
            while not state.finished:
                reply = task.right(state)
                self.answers[state.shown] = [*encode(reply), END, PADDING, PADDING]
                state = task.step(state, reply)

    def get_input_embeddings(self):
        return self.table

    def forward(self, inputs_embeds, use_cache=False):
        ids = inputs_embeds.argmax(-1)
        logits = torch.zeros(*ids.shape, len(VOCABULARY))
        for row, words in enumerate(ids.tolist()):
            text = " ".join(VOCABULARY[w] for w in words)
            prompt = max((p for p in self.answers if text.startswith(p)), key=len)
            said = len(words) - len(prompt.split())
            logits[row, -1, self.answers[prompt][min(said, 3)]] = 1.0
        return type("Output", (), {"logits": logits})


@every_task
def test_play_carries_the_replies_into_the_task(task):
    played = play(Oracle(task, 30, 5), task, 30, 5)
    assert played.scores[task.measure] == 1.0
    assert (played.changed, played.relative, played.flipped) == (0, 0.0, 0.0)


@pytest.fixture(scope="module")
def attacked():
    model, task = tiny_llama(0).eval(), Negotiation()
    ids = torch.tensor([encode(state.shown) for state in task.start(6, 0)])
    clean = model.get_input_embeddings()(ids).detach()
    return model, ids, clean, replies(model, clean)


@pytest.mark.parametrize("goal", ["untargeted", "targeted"])
@pytest.mark.parametrize("budget", [1, 2])
def test_word_search_keeps_its_budget_and_its_slots(attacked, goal, budget):
    model, ids, clean, reply = attacked
    search = WordSearch(goal, budget=budget)
    moved = search(model, ids, reply, torch.Generator().manual_seed(0))
    table = model.get_input_embeddings().weight
    words = torch.cdist(moved.embeddings, table).argmin(-1)
    assert bool(((words != ids) <= attacker_mask(ids)).all())
    assert torch.equal((words != ids).sum(1), moved.changed)
    assert int(moved.changed.max()) <= budget
    assert set(words[words != ids].tolist()) <= set(FILLERS)
    found = objective(model, table[words], reply, goal)
    torch.testing.assert_close(found, moved.loss)
    assert bool((found >= objective(model, clean, reply, goal)).all())


@torch.no_grad()
def test_a_beam_that_holds_all_texts_finds_the_best_pair_of_words(attacked, monkeypatch):
    model, ids, _, reply = attacked
    fillers = FILLERS[::8]
    monkeypatch.setattr(_attacks, "FILLERS", fillers)
    table, best = model.get_input_embeddings().weight, torch.full((len(ids),), -torch.inf)
    slots = attacker_mask(ids)[0].nonzero().flatten().tolist()
    for first, second in itertools.combinations(slots, 2):
        for pair in itertools.product(fillers, fillers):
            words = ids.clone()
            words[:, first], words[:, second] = pair
            best = best.maximum(objective(model, table[words], reply, "untargeted"))
    search = WordSearch(beam=len(slots) * len(fillers))
    found = search(model, ids, reply, torch.Generator()).loss
    torch.testing.assert_close(found, best)


def test_more_words_find_no_less(attacked):
    model, ids, _, reply = attacked
    one, two, three = (
        WordSearch(budget=budget)(model, ids, reply, torch.Generator()).loss for budget in (1, 2, 3)
    )
    assert bool((one <= two).all())
    assert bool((two <= three).all())


@pytest.mark.parametrize("goal", ["untargeted", "targeted"])
def test_ascent_stays_in_its_ball_and_on_its_words(attacked, goal):
    model, ids, clean, reply = attacked
    ascent = EmbeddingAscent(0.3, goal)
    moved = ascent(model, ids, reply, torch.Generator().manual_seed(0))
    delta = moved.embeddings - clean
    mask = attacker_mask(ids)
    assert bool((delta[~mask] == 0).all())
    size = delta.flatten(1).norm(dim=1) / (clean * mask.unsqueeze(-1)).flatten(1).norm(dim=1)
    torch.testing.assert_close(size, moved.relative)
    assert float(size.max()) <= 0.3 * (1 + 1e-5)
    before = objective(model, clean, reply, goal)
    assert bool((moved.loss >= before).all())
    assert (moved.loss - before).mean().item() > 0
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("attack", [WordSearch(), EmbeddingAscent(0.1)])
def test_prompts_without_the_other_partys_words_are_refused(attack):
    ids = torch.tensor([encode("sell cost offer")])
    with pytest.raises(ValueError, match="ids has a row without words"):
        attack(tiny_llama(0), ids, ids, torch.Generator())
