"""Rollouts for GRPO: transcripts, masks, groups and returns, and the adapter's use of them."""

import types

import pytest
import torch

pytest.importorskip("transformers")

from aajr.integrations.trl._attacked import attacked
from aajr.studies.language._rollouts import openings, returned, rollouts
from aajr.studies.language._tasks import TASKS, Negotiation, Tools
from aajr.studies.language._tokens import (
    END,
    INDEX,
    PADDING,
    VOCABULARY,
    attacker_mask,
    decode,
    encode,
    tiny_llama,
)


class Speaker(torch.nn.Module):
    """Says the words of a table, by the number of words that it has read."""

    device = torch.device("cpu")

    def __init__(self, replies):
        super().__init__()
        self.table = torch.nn.Embedding(len(VOCABULARY), len(VOCABULARY))
        self.table.weight.data = torch.eye(len(VOCABULARY))
        self.replies = replies

    def get_input_embeddings(self):
        return self.table

    def forward(self, inputs_embeds, use_cache=False):
        logits = torch.full(inputs_embeds.shape, -1e4)
        for row, words in enumerate(inputs_embeds.argmax(-1).tolist()):
            logits[row, -1, self.replies(words)] = 0.0
        return types.SimpleNamespace(logits=logits)


def roll(task, speaker, groups=3, size=2):
    rows = openings(task, 50, 4)[:groups]
    prompts = [row["prompt"] for row in rows for _ in range(size)]
    trainer = types.SimpleNamespace(num_generations=size, model=speaker)
    return prompts, rollouts(task, 50, 4)(prompts, trainer)


def speech(reply):
    return [*encode(reply), END, PADDING, PADDING]


def asks_too_much(words):
    said = words[max(i for i, w in enumerate(words) if w == INDEX["reply"]) + 1 :]
    return speech("ask 20")[len(said)]


def test_the_models_words_and_the_tasks_alternate():
    task = Negotiation()
    prompts, found = roll(task, Speaker(asks_too_much))
    for prompt, said, own in zip(prompts, found["completion_ids"], found["env_mask"], strict=True):
        assert len(said) == len(own)
        words = decode(said[:3]).split(), " ".join(VOCABULARY[i] for i in said[3:])
        assert words[0] == ["ask", "20"]
        if len(said) == 3:
            continue
        offer = int(prompt.split("offer ")[1].split()[0]) + 2
        assert words[1].startswith(f"round 2 offer {offer} <their>")
        assert own == [1] * 3 + [0] * (len(said) - 6) + [1] * 3
    assert {len(said) for said in found["completion_ids"]} != {3}


def test_a_group_meets_one_episode_and_returns_are_its_worths():
    task = Tools()

    def speak(words):
        _, _, key, _, item, _ = (VOCABULARY[w] for w in words[:6])
        if INDEX["data"] in words:
            last = max(i for i, w in enumerate(words) if w == INDEX["answer"])
            return speech(f"{key} 7")[len(words) - last - 1]
        return speech(f"call {key} {item}")[len(words) - 6]

    prompts, found = roll(task, Speaker(speak), groups=50)
    said = found["completion_ids"]
    assert said[::2] == said[1::2]
    for prompt, words, worth in zip(prompts, said, found["worth"], strict=True):
        output = [VOCABULARY[w] for w in words[words.index(INDEX["data"]) :]]
        assert worth == float(output[output.index(prompt.split()[2]) + 1] == "7")
    assert returned([], found["worth"], other=1) == found["worth"]
    assert sum(found["worth"]) > 0


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_replies_are_sampled_from_a_generator_of_their_own(task):
    model = tiny_llama(0).eval()
    torch.manual_seed(0)
    first = roll(task, model, size=8)[1]
    torch.manual_seed(1)
    again = roll(task, model, size=8)[1]
    assert first == again
    assert len({tuple(said) for said in first["completion_ids"][:8]}) > 1


def test_the_penalty_looks_at_the_models_words_and_moves_the_strangers():
    _, found = roll(Negotiation(), Speaker(asks_too_much), groups=1)
    prompt, said, own = (found[k][0] for k in ("prompt_ids", "completion_ids", "env_mask"))
    ids = torch.tensor([prompt + said])
    labels = torch.cat([torch.full((1, len(prompt)), -100), ids[:, len(prompt) :]], 1)
    where = attacked(
        {"input_ids": ids, "labels": labels},
        lambda call: attacker_mask(call["input_ids"]),
        {"tool_mask": torch.tensor([own])},
    )
    answered = [i + len(prompt) for i, mine in enumerate(own) if mine]
    assert where.scored[0].nonzero().flatten().tolist() == [i - 1 for i in answered]
    assert int(where.mask.sum()) == 8
