"""Tiny hosts: a word-level tokenizer, random Llamas, data, and TRL's trainers on them."""

from __future__ import annotations

import copy
import gc
import random
import re
import types
from collections.abc import Sequence
from typing import Any

import torch
import transformers
from datasets import Dataset
from peft import LoraConfig
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from trl import (
    DPOConfig,
    DPOTrainer,
    GRPOConfig,
    GRPOTrainer,
    KTOConfig,
    KTOTrainer,
    RewardConfig,
    RewardTrainer,
    RLOOConfig,
    RLOOTrainer,
    SFTConfig,
    SFTTrainer,
)

from aajr.integrations.trl import Robustness, robustify

gc.freeze()  # trainers collect garbage, which the libraries' own objects would make slow

WORDS = ["<pad>", "<eos>", "<unk>"] + [f"w{i}" for i in range(29)]
HOSTS: dict[str, tuple[Any, Any]] = {
    "sft": (SFTTrainer, SFTConfig),
    "dpo": (DPOTrainer, DPOConfig),
    "kto": (KTOTrainer, KTOConfig),
    "reward": (RewardTrainer, RewardConfig),
    "grpo": (GRPOTrainer, GRPOConfig),
    "rloo": (RLOOTrainer, RLOOConfig),
}
GENERATING = ("grpo", "rloo")


def tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = {"pad_token": "<pad>", "eos_token": "<eos>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=words, **names)


def config(**changes: Any) -> LlamaConfig:
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
    }
    ids = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
    return LlamaConfig(**{"vocab_size": len(WORDS), **sizes, **ids, **changes})


def model(host: str = "sft", seed: int = 0, **changes: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        kind = LlamaForSequenceClassification if host == "reward" else LlamaForCausalLM
        if host == "reward":
            changes = {"num_labels": 1, **changes}
        # random weights of 0.02 are almost constant functions; larger ones are not
        return kind(config(initializer_range=0.2, **changes))


def in_float64(network: Any) -> Any:
    """In float64 throughout: transformers' own norm goes through float32."""
    for module in network.modules():
        if isinstance(module, LlamaRMSNorm):
            module.forward = types.MethodType(_norm, module)
    return network.double()


def _norm(module: Any, hidden: torch.Tensor) -> torch.Tensor:
    size = hidden.square().mean(-1, keepdim=True)
    return module.weight * hidden * torch.rsqrt(size + module.variance_epsilon)


TEXT: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 64,
    "pad_token_id": 0,
    "initializer_range": 0.2,
}
VISION: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}


def _gemma() -> Any:
    given = {"mm_tokens_per_image": 1, "image_token_index": 63}
    text = {**TEXT, "final_logit_softcapping": 20.0}
    return transformers.Gemma3Config(text_config=text, vision_config=VISION, **given)


def _qwen() -> Any:
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}
    vision = {"hidden_size": 16, "intermediate_size": 32, "depth": 1, "num_heads": 2}
    return transformers.Qwen2_5_VLConfig(
        text_config={**TEXT, "rope_parameters": rope},
        vision_config={**vision, "out_hidden_size": 16, "patch_size": 14},
        image_token_id=60,
        video_token_id=61,
        vision_start_token_id=62,
        vision_end_token_id=63,
    )


def _llama() -> Any:
    experts = {"intermediate_size_mlp": 32, "num_local_experts": 2, "num_experts_per_tok": 1}
    seen = {"vision_output_dim": 16, "projector_input_dim": 16, "projector_output_dim": 16}
    return transformers.Llama4Config(
        text_config={**TEXT, **experts},
        vision_config={**VISION, **seen, "intermediate_size": 64},
        image_token_index=63,
    )


def _mistral() -> Any:
    return transformers.Mistral3Config(
        text_config={**TEXT, "model_type": "mistral"},
        vision_config={**VISION, "model_type": "pixtral", "head_dim": 8},
        image_token_index=63,
    )


def _opt() -> Any:
    names = ("num_hidden_layers", "num_attention_heads", "hidden_size", "vocab_size")
    sizes = {name: TEXT[name] for name in (*names, "pad_token_id")}
    return transformers.OPTConfig(
        **sizes, word_embed_proj_dim=8, ffn_dim=32, max_position_embeddings=64, init_std=0.2
    )


FAMILIES = {
    "Gemma3ForConditionalGeneration": _gemma,
    "Qwen2_5_VLForConditionalGeneration": _qwen,
    "Llama4ForConditionalGeneration": _llama,
    "Mistral3ForConditionalGeneration": _mistral,
    "OPTForCausalLM": _opt,
}
"""Classes that hold their layers deeper than Llama does, and tiny configurations of them."""


def of_family(name: str, seed: int = 0) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return getattr(transformers, name)(FAMILIES[name]())


MARKS = r"<[|｜][^<>\s'\"]*[|｜]>|<(?:start|end)_of_turn>|</?s>|\[/?[A-Z_]+\]"


def chat_tokenizer(template: str | None, merges: Sequence[tuple[str, str]] = ()) -> Any:
    """Of single bytes and the merges, with the marks of a template as tokens of their own."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merged = [a + b for a, b in merges]
    vocabulary = {piece: index for index, piece in enumerate([*letters, *merged])}
    bytewise = Tokenizer(models.BPE(vocabulary, list(merges)))
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bytewise.decoder = decoders.ByteLevel()
    found = PreTrainedTokenizerFast(
        tokenizer_object=bytewise,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=sorted(set(re.findall(MARKS, template or ""))),
    )
    found.chat_template = template
    return found


def words(draw: random.Random, count: int) -> str:
    return " ".join(f"w{draw.randrange(29)}" for _ in range(count))


def data(host: str, count: int = 24, seed: int = 0, length: int | None = None) -> Dataset:
    draw = random.Random(seed)
    rows = []
    for index in range(count):
        prompt = words(draw, length or draw.randrange(4, 8))
        first, second = (f" {words(draw, length or draw.randrange(2, 5))}" for _ in range(2))
        row: dict[str, Any] = {"prompt": prompt}
        if host == "sft":
            row["completion"] = first
        elif host in ("dpo", "reward"):
            row |= {"chosen": first, "rejected": second}
        elif host == "kto":
            row |= {"completion": first, "label": index % 2 == 0}
        rows.append(row)
    return Dataset.from_list(rows)


def reward(completions: list[str], **_: Any) -> list[float]:
    return [len(set(text.split())) + 0.1 * text.count("w1") for text in completions]


def trainer(
    host: str,
    directory: Any,
    robustness: Robustness | None,
    *,
    lora: float | None = None,
    dataset: Dataset | None = None,
    network: Any = None,
    rollout_func: Any = None,
    reward_func: Any = reward,
    compute_loss_func: Any = None,
    speech: Any = None,
    **changes: Any,
) -> Any:
    """The host's trainer, robust if settings are given; ``lora`` is the adapters' dropout.

    ``speech`` is the tokenizer, if not the words'.
    """
    kind, settings = HOSTS[host]
    arguments: dict[str, Any] = {
        "max_steps": 3,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "report_to": [],
        "bf16": False,
        "use_cpu": True,
        "disable_tqdm": True,
        "save_strategy": "no",
        "seed": 0,
        "gradient_checkpointing": False,
    }
    if host in GENERATING:
        arguments |= {"num_generations": 4, "max_completion_length": 4, "temperature": 0.9}
        arguments["beta"] = 0.0  # a reference model would be loaded by name
    given: dict[str, Any] = {
        "model": model(host) if network is None else network,
        "args": settings(str(directory), **{**arguments, **changes}),
        "train_dataset": data(host) if dataset is None else dataset,
        "processing_class": tokenizer() if speech is None else speech,
    }
    if host in GENERATING:
        given["reward_funcs"] = reward_func
    if rollout_func is not None:
        given["rollout_func"] = rollout_func
    if compute_loss_func is not None:
        given["compute_loss_func"] = compute_loss_func
    if lora is not None:
        kind_of_task = "SEQ_CLS" if host == "reward" else "CAUSAL_LM"
        given["peft_config"] = LoraConfig(
            r=2, lora_dropout=lora, target_modules=["q_proj", "v_proj"], task_type=kind_of_task
        )
    elif host in ("dpo", "kto"):
        given["ref_model"] = copy.deepcopy(given["model"])
    if robustness is None:
        return kind(**given)
    return robustify(kind)(robustness=robustness, **given)


def parameters(trained: Any) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in trained.model.named_parameters()}
