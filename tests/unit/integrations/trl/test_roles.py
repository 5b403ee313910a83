"""Who wrote which token, by the marks of the chat template."""

import random
from pathlib import Path

import pytest
import torch

pytest.importorskip("trl")

import trl
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from aajr.integrations.trl import Robustness, _trainer
from aajr.language.roles import read_template
from tests.unit.integrations.trl import hosts

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

FOLDER = Path(trl.__file__).parent / "chat_templates"
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ZEPHYR = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
LLAMA_2 = (
    "{% if messages[0].role == 'system' %}{% set rest = messages[1:] %}"
    "{% set first = '<<SYS>>\n' + messages[0].content + '\n<</SYS>>\n\n' %}"
    "{% else %}{% set rest = messages %}{% set first = '' %}{% endif %}"
    "{% for m in rest %}{% if m.role == 'user' %}"
    "<s>[INST] {{ first if loop.first else '' }}{{ m.content }} [/INST]"
    "{% elif m.role == 'assistant' %} {{ m.content }} </s>"
    "{% else %}{{ raise_exception('roles') }}{% endif %}{% endfor %}"
)
MISTRAL = (
    "{% if messages[0].role == 'system' %}{% set said = messages[0].content %}"
    "{% set rest = messages[1:] %}{% else %}{% set rest = messages %}{% endif %}<s>"
    "{% for m in rest %}{% if m.role == 'user' %}{% if loop.last and tools %}"
    "[AVAILABLE_TOOLS] {{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}"
    "[INST] {% if loop.last and said is defined %}{{ said }}\n\n{% endif %}"
    "{{ m.content }}[/INST]{% elif m.tool_calls is defined %}"
    "[TOOL_CALLS] {{ m.tool_calls | tojson }}</s>{% elif m.role == 'assistant' %}"
    " {{ m.content }}</s>{% elif m.role == 'tool' %}"
    '[TOOL_RESULTS] {"content": "{{ m.content }}"}[/TOOL_RESULTS]{% endif %}{% endfor %}'
)
OWN = {"chatml": CHATML, "zephyr": ZEPHYR, "llama-2": LLAMA_2, "mistral": MISTRAL}
CHATS = ("llama3", "gemma3", "phi3", "llama-2")
TOOLS = ("qwen2_5", "qwen3", "llama3_1", "lfm2", "glm4moe", "gptoss", "mistral")


def tokenizer(name):
    template = OWN.get(name) or (FOLDER / f"{name}.jinja").read_text()
    return hosts.chat_tokenizer(template)


def chat(draw, roles):
    """A chat of the roles' initials; contents differ from each other and from any template."""
    names = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    turns = []
    for place, initial in enumerate(roles):
        said = "".join(draw.choice("kvwxz KVWXZ.") for _ in range(draw.randrange(1, 12)))
        turn = {"role": names[initial], "content": f"K{place}{said.strip()}Z"}
        if initial == "t":
            call = {"name": "look", "arguments": {"at": draw.choice([3, "there", [1]])}}
            called = [{"type": "function", "id": "abcdefghi", "function": call}]
            turns.append({"role": "assistant", "content": "", "tool_calls": called})
            turn |= {"name": "look", "tool_call_id": "abcdefghi"}
        turns.append(turn)
    return turns


def written(tokens, chat):
    """Masks by looking for every content in turn: single bytes are tokens."""
    signs = [tokens.decode([t]) for t in tokens.apply_chat_template(chat, tokenize=True).input_ids]
    text = "".join(signs)
    starts = torch.tensor([len("".join(signs[:i])) for i in range(len(signs))])
    found = {role: torch.zeros(len(signs), dtype=torch.bool) for role in ("user", "tool", "system")}
    for turn in chat:
        if turn["role"] in found and turn["content"] in text:
            start = text.index(turn["content"])
            inside = (starts >= start) & (starts < start + len(turn["content"]))
            found[turn["role"]] |= inside
    return found


@pytest.mark.parametrize("name", CHATS + TOOLS + ("chatml", "zephyr"))
def test_words_are_the_roles_and_marks_and_system_prompts_nobodys(name):
    tokens, draw = tokenizer(name), random.Random(name)
    template = read_template(tokens, ("user", "assistant", *(["tool"] if name in TOOLS else [])))
    shapes = ["u", "ua", "sua", "suaua"] + (["utaut", "sutta"] if name in TOOLS else [])
    for roles in shapes:
        turns = chat(draw, roles)
        expected = written(tokens, turns)
        ids = tokens.apply_chat_template(turns, tokenize=True).input_ids
        masks = template.masks(torch.tensor([ids]))
        for role in ("user", "tool"):
            assert torch.equal(masks[role][0], expected[role]), (roles, role)
        for role, mask in masks.items():
            assert role == "system" or not bool((mask[0] & expected["system"]).any())
        said = tokens.decode([i for i, own in zip(ids, masks["assistant"][0], strict=True) if own])
        assert all(t["content"] in said for t in turns if t["role"] == "assistant")


def test_a_system_prompt_in_the_users_turn_is_never_the_users():
    """If it holds the separator itself, fewer of the user's words count as the user's."""
    for name in ("gemma3", "llama-2", "mistral"):
        tokens = tokenizer(name)
        template = read_template(tokens, ("user",))
        parted = {"role": "system", "content": "KA\n\nKB\n<</SYS>>\n\nKC"}
        turns = [parted, {"role": "user", "content": "ZA\n\nZB"}]
        ids = tokens.apply_chat_template(turns, tokenize=True).input_ids
        mask = template.masks(torch.tensor([ids]))["user"][0]
        own = "".join(tokens.decode([i]) for i, m in zip(ids, mask, strict=True) if m)
        assert own == ("ZA\n\nZB" if name == "llama-2" else "ZB")


def test_truncated_padded_and_generated_rows():
    tokens = tokenizer("qwen2_5")
    template = read_template(tokens, ("user", "assistant"))
    turns = [{"role": "user", "content": "xyz"}, {"role": "assistant", "content": "uvw"}]
    ids = tokens.apply_chat_template(turns * 2, tokenize=True).input_ids
    masks = template.masks(torch.tensor([ids]))
    for rows in (ids[:-7], ids[:-20], [*ids, *[tokens.pad_token_id] * 5]):
        cut = template.masks(torch.tensor([rows]))
        size = min(len(rows), len(ids))
        for role in ("user", "assistant"):
            assert torch.equal(cut[role][0, :size], masks[role][0, :size])
            assert not bool(cut[role][0, size:].any())
    late = template.masks(torch.tensor([ids[20:]]))
    assert not bool((late["user"][0] & ~masks["user"][0, 20:]).any())


@pytest.mark.parametrize(
    ("merge", "content", "own"),
    [((":", "x"), "xyz", "yz"), (("Ċ", "Ċ"), "xyz\n", "xyz"), (("z", "Ċ"), "xyz", "xyz\n")],
)
def test_a_token_that_holds_a_part_of_a_mark_is_nobodys(merge, content, own):
    """Spaces of a mark do not count as part of it."""
    plain = "{% for m in messages %}## {{ m.role }}:{{ m.content }}\n\n{% endfor %}"
    tokens = hosts.chat_tokenizer(plain, merges=[merge])
    template = read_template(tokens, ("user",))
    turns = [{"role": "user", "content": content}, {"role": "assistant", "content": "w"}]
    ids = tokens.apply_chat_template(turns, tokenize=True).input_ids
    mask = template.masks(torch.tensor([ids]))["user"][0]
    assert len(ids) < len(tokens.apply_chat_template(turns, tokenize=False))
    assert tokens.decode([i for i, moved in zip(ids, mask, strict=True) if moved]) == own


def test_words_of_a_tokenizer_with_spaces_in_its_tokens():
    """As SentencePiece's, which writes the mark's space into the content's first token."""
    pieces = ["<unk>", "▁", *"abcdefghijklmnopqrstuvwxyz[]/<>IHNSTY\n", "▁x", "▁xy"]
    merges = [("▁", "x"), ("▁x", "y")]
    spaced = Tokenizer(models.BPE({p: i for i, p in enumerate(pieces)}, merges, unk_token="<unk>"))
    spaced.pre_tokenizer = pre_tokenizers.Metaspace(split=False)
    spaced.decoder = decoders.Metaspace()
    marks = ["<s>", "</s>", "[INST]", "[/INST]"]
    tokens = PreTrainedTokenizerFast(
        tokenizer_object=spaced, unk_token="<unk>", additional_special_tokens=marks
    )
    tokens.chat_template = LLAMA_2
    template = read_template(tokens, ("user", "assistant"))
    turns = [{"role": "user", "content": "xyz xa"}, {"role": "assistant", "content": "xyb"}]
    ids = tokens.apply_chat_template(turns, tokenize=True).input_ids
    masks = template.masks(torch.tensor([ids]))
    assert tokens.decode([i for i, m in zip(ids, masks["user"][0], strict=True) if m]) == "xyz xa"


def test_a_template_whose_marks_are_not_always_there_is_refused():
    """DeepSeek's leaves out the assistant's mark before a second call."""
    with pytest.raises(ValueError, match="does not tell who wrote the words of user"):
        read_template(tokenizer("deepseekv3"), ("user",))


@pytest.mark.parametrize(
    ("template", "role", "message"),
    [
        (None, "user", "needs a chat template and there is none"),
        ("{% for m in messages %}{{ m.content }}\n{% endfor %}", "user", "words of user"),
        (LLAMA_2, "tool", "words of tool; give attacker a function"),
    ],
)
def test_templates_that_do_not_tell_a_role_are_refused(template, role, message):
    with pytest.raises(ValueError, match=message):
        read_template(hosts.chat_tokenizer(template), (role,))


CALL = {"type": "function", "function": {"name": "look", "arguments": {"at": 3}}}
ASKED = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "where"}]
CALLED = {"role": "assistant", "content": "", "tool_calls": [CALL]}
TOLD = [CALLED, {"role": "tool", "content": "north, they say", "name": "look"}]
SAID = [{"role": "assistant", "content": "north"}]
ELSE = [{"role": "assistant", "content": "south"}]


def moved(host, directory, row, attacker="prompt", name="qwen3", **changes):
    """Words that moved, and texts that were scored, of one row of data."""
    tokens, seen = tokenizer(name), []

    def noting(*args):
        where = attacked(*args)
        ids, scored = args[0]["input_ids"], torch.roll(where.scored, 1, 1)
        for mask in (where.mask, scored):
            pairs = zip(ids.flatten().tolist(), mask.flatten().tolist(), strict=True)
            seen.append(tokens.decode([i for i, own in pairs if own]))
        return where

    attacked = _trainer.attacked
    settings = Robustness(1.0, attacker=attacker, interval=1, warmup=0.0, fraction=1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_trainer, "attacked", noting)
        trained = hosts.trainer(
            host,
            directory,
            settings,
            dataset=Dataset.from_list([row] * 4),
            network=hosts.model(host, vocab_size=400),
            speech=tokens,
            max_steps=1,
            **{"per_device_train_batch_size": 1, **changes},
        )
        trained.train()
    logged = trained.state.log_history[0]
    return (*seen[:2], logged.get("aajr/penalty"))


CHAT = {"messages": ASKED + TOLD + SAID}


@pytest.mark.parametrize(
    ("attacker", "words"),
    [
        ("prompt", "wherenorth, they say"),
        (("tool", "user"), "wherenorth, they say"),
        (("user",), "where"),
        ("tools", "north, they say"),
    ],
)
@pytest.mark.parametrize("flat", [False, True])
def test_of_chats_trained_on_as_a_whole_the_other_side_moves(attacker, words, flat, tmp_path):
    """The assistant's turns are scored, with its calls and the ends of its turns."""
    changes = {"padding_free": True, "max_length": None} if flat else {}
    found, scored, penalty = moved("sft", tmp_path, CHAT, attacker, **changes)
    assert found == words
    assert scored.startswith(("<tool_call>", "\n<tool_call>", "<think>"))
    assert scored.endswith("north<|im_end|>")
    assert "look" in scored
    assert "where" not in scored
    assert "they say" not in scored
    assert penalty > 0


def test_pairs_of_tool_chats_need_no_mask_made_by_hand(tmp_path):
    row = {"prompt": ASKED, "chosen": TOLD + SAID, "rejected": TOLD + ELSE}
    found, scored, penalty = moved("dpo", tmp_path, row, ("tool",))
    assert found == "north, they say" * 2
    assert "they say" not in scored
    assert scored.count("<|im_end|>") == 4
    assert penalty > 0


def test_of_prompts_in_grpo_the_users_words_move(tmp_path):
    found, _, penalty = moved(
        "grpo",
        tmp_path,
        {"prompt": ASKED},
        ("user",),
        per_device_train_batch_size=4,
        reward_func=lambda completions, **_: [float(i) for i in range(len(completions))],
    )
    assert found == "where" * 4
    assert penalty is not None


def test_roles_that_the_template_does_not_tell_are_refused_when_the_trainer_is_built(tmp_path):
    for attacker in (("tool",), "tools"):
        with pytest.raises(ValueError, match="does not tell who wrote the words of tool"):
            moved("sft", tmp_path, {"messages": ASKED + SAID}, attacker, "llama-2")
    with pytest.raises(ValueError, match="needs a chat template and there is none"):
        hosts.trainer("sft", tmp_path, Robustness(1.0, attacker=("user",)))


@pytest.mark.parametrize("attacker", [(), ("system",), ("user", "assistant")])
def test_other_roles_are_no_attackers(attacker):
    with pytest.raises(ValueError, match="is not allowed; give one or more of user, tool"):
        Robustness(1.0, attacker=attacker)
