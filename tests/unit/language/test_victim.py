"""Answers and probabilities against plain calls of the model."""

import pytest
import torch

pytest.importorskip("transformers")

from aajr.language import Victim
from tests.unit.language.models import case, model, tokenizer, victim


def test_log_probability_is_the_mean_over_the_answers_tokens():
    one = victim()
    ids = one.chat(case()).ids
    reply = one.reply("four euros")
    found = one.log_probability(one.embedded([ids]), reply)
    logits = one.model(torch.tensor([[*ids, *reply.tolist()]])).logits[0].log_softmax(-1)
    places = torch.arange(len(ids) - 1, len(ids) + len(reply) - 1)
    torch.testing.assert_close(found, logits[places, reply].mean()[None])


def test_a_prefix_changes_nothing():
    one = victim()
    ids = one.chat(case()).ids
    reply, cut = one.reply("four euros"), 9
    rest = one.embedded([ids[cut:], ids[cut:]]).requires_grad_()
    prefix = one.prefix(ids[:cut])
    assert prefix is not None
    for _ in range(2):  # the prefix is not changed by its use
        found = one.log_probability(rest, reply, prefix)
    whole = torch.cat([one.embedded([ids[:cut]]).expand(2, -1, -1), rest], 1)
    known = one.log_probability(whole, reply)
    torch.testing.assert_close(found, known)
    rates = [
        torch.autograd.grad(value.sum(), rest, retain_graph=True)[0] for value in (found, known)
    ]
    torch.testing.assert_close(*rates)
    assert one.prefix([]) is None


def test_models_that_give_all_logits_say_the_same(monkeypatch):
    one, other = victim(), victim()
    ids = one.chat(case()).ids
    forward = other.model.forward

    def plain(inputs_embeds=None, use_cache=None, attention_mask=None):
        return forward(inputs_embeds=inputs_embeds, use_cache=use_cache)

    monkeypatch.setattr(other.model, "forward", plain)
    found = [v.log_probability(v.embedded([ids]), v.reply("four euros")) for v in (one, other)]
    torch.testing.assert_close(*found)


def test_answers_do_not_depend_on_the_batch():
    one = victim(batch=3)
    chats = [one.chat(case(name)) for name in ("lamp", "chair", "table", "red lamp of four")]
    together = one.answers(chats)
    assert together == [one.answers([chat])[0] for chat in chats]
    assert together == one.answers([one.embedded([chat.ids])[0] for chat in chats])
    assert len(set(together)) > 1


def test_the_answer_is_the_most_probable_one():
    one = victim()
    ids = list(one.chat(case()).ids)
    for _ in range(one.length):
        ids.append(int(one.model(torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == one.tokenizer.eos_token_id:
            break
    said = tokenizer().decode(ids[len(one.chat(case()).ids) :], skip_special_tokens=True).strip()
    assert one.answers([one.chat(case())]) == [said]


def test_the_vocabulary_has_no_special_tokens():
    words = victim().vocabulary
    assert len(words) == len(tokenizer())
    assert words[:3] == ["", "", ""]
    assert " lamp" in words


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (torch.nn.Linear(2, 2), "no causal language model"),
        (model().train(), "training mode"),
    ],
)
def test_other_models_are_refused(network, words):
    with pytest.raises(ValueError, match=words):
        Victim(network, tokenizer())


@pytest.mark.parametrize("name", ["length", "batch"])
def test_sizes_are_checked(name):
    with pytest.raises(ValueError, match=f"{name}=0"):
        victim(**{name: 0})
