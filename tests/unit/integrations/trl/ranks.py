"""Scenes that one process and two processes train alike: ``python -m … OUT`` runs them on two."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState, DistributedType, PartialState
from datasets import Dataset
from torch.distributed.tensor import DTensor

from aajr.integrations.trl import Robustness
from tests.unit.integrations.trl import hosts

ROWS = 8  # of the global batch
WAIT = 60  # seconds until a rank that nobody answers gives up
Record = dict[str, Any]


def once(world: int, host: str, directory: Path, weight: float = 3.0, **changes: Any) -> Record:
    """What one step on the global batch did: the change of the parameters, and the log."""
    given = {"weight": weight, "interval": 1, "warmup": 0.0, "fraction": 1.0, "step": 1e-6}
    settings = Robustness(**given | changes.pop("robustness", {}))
    rows = changes.pop("rows", ROWS)
    trained = hosts.trainer(
        host,
        directory,
        settings,
        dataset=changes.pop("dataset", None) or hosts.data(host, 16),
        network=hosts.in_float64(hosts.model(host)),
        **{
            "max_steps": 1,
            "per_device_train_batch_size": rows // world,
            "optim": "sgd",
            "max_grad_norm": 0.0,
            "learning_rate": 1.0,
            "ddp_timeout": WAIT,
            **changes,
        },
    )
    start = _whole(trained)
    trained.train()
    end = _whole(trained)
    return {"moved": {n: end[n] - start[n] for n in start}, "log": trained.state.log_history[0]}


def _whole(trained: Any) -> dict[str, torch.Tensor]:
    """Parameters, gathered where they are sharded."""
    found = hosts.parameters(trained)
    return {n: p.full_tensor() if isinstance(p, DTensor) else p for n, p in found.items()}


def answered(prompts: list[str], trainer: Any) -> Record:
    """Completions by a prompt's place in the global batch, the same for any number of processes."""
    first, words = trainer.accelerator.process_index * len(prompts), trainer.processing_class
    place = [first + i for i in range(len(prompts))]
    completions = [[5 + i % 4, 7 + i % 3, 9 + i % 2, 1][: 3 + i % 2] for i in place]
    return {"prompt_ids": words(prompts).input_ids, "completion_ids": completions, "logprobs": None}


def rewarded(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
    """Answers to a prompt that begins with w0 are all the same to it: they have no advantage."""
    pairs = zip(prompts, completions, strict=True)
    return [0.0 if p.startswith("w0") else float(c.split()[0][1:]) for p, c in pairs]


def grpo(world: int, directory: Path, prompts: list[str], **changes: Any) -> Record:
    """GRPO on answers that do not depend on chance."""
    given = {
        "dataset": Dataset.from_list([{"prompt": p} for p in prompts]),
        "shuffle_dataset": False,
    }
    return once(
        world, "grpo", directory, rollout_func=answered, reward_func=rewarded, **given | changes
    )


def _second_word(arguments: Any) -> torch.Tensor:
    """Only rows of the first half of the data hold such a token."""
    return arguments["input_ids"] == hosts.WORDS.index("w28")


def _half_attacked() -> Dataset:
    rows = [f"w{i} w{28 if i < 4 else 27} w{i + 9} w3" for i in range(ROWS)]
    return Dataset.from_list([{"prompt": r, "completion": " w1 w2"} for r in rows])


UNSHUFFLED = {"train_sampling_strategy": "sequential"}
SCENES: dict[str, Callable[[int, Path], Record]] = {
    "sft": lambda w, d: once(w, "sft", d),
    "sft, half unattacked": lambda w, d: once(
        w, "sft", d, dataset=_half_attacked(), robustness={"attacker": _second_word}, **UNSHUFFLED
    ),
    "sft, adversarial": lambda w, d: once(
        w, "sft", d, robustness={"method": "adversarial", "steps": 2}
    ),
    "dpo, accumulated": lambda w, d: once(w, "dpo", d, rows=4, gradient_accumulation_steps=2),
    "kto": lambda w, d: once(w, "kto", d),
    "reward": lambda w, d: once(w, "reward", d),
    "grpo, half without advantage": lambda w, d: grpo(w, d, ["w1 w2 w3", "w0 w4 w5"]),
    "grpo, more groups on one": lambda w, d: grpo(
        w, d, ["w1 w2 w3", "w4 w5 w6 w7", "w8 w9", "w0 w4 w5"], num_generations=2
    ),
    "grpo, a group on both": lambda w, d: grpo(
        w, d, ["w1 w2 w3 w4 w5", "w6 w7", "w8 w9 w5"], rows=12
    ),
    "grpo, adversarial, half without": lambda w, d: grpo(
        w, d, ["w1 w2 w3", "w0 w4 w5"], robustness={"method": "adversarial"}
    ),
}


FSDP = {"fsdp": True, "fsdp_config": {"transformer_layer_cls_to_wrap": ["LlamaDecoderLayer"]}}
SHARDED = {
    "sft": lambda w, d, **fsdp: once(
        w, "sft", d, robustness={"chunk": 2}, max_steps=2, learning_rate=1e-4, **fsdp
    ),
    "dpo": lambda w, d, **fsdp: once(w, "dpo", d, **fsdp),
    "reward, layer 2": lambda w, d, **fsdp: once(w, "reward", d, robustness={"layer": 2}, **fsdp),
    "grpo": lambda w, d, **fsdp: grpo(w, d, ["w1 w2 w3", "w0 w4 w5"], **fsdp),
}


def allow_fsdp_on_cpu() -> None:
    """Accelerate shards on accelerators alone; torch does it anywhere."""
    AcceleratorState._reset_state(reset_partial_state=True)
    kind = DistributedType.MULTI_GPU
    PartialState._prepare_backend = lambda *_, **__: ("gloo", kind)  # type: ignore[method-assign]
    PartialState.set_device = lambda state: setattr(state, "device", torch.device("cpu"))


def smart_under_fsdp(directory: Path) -> Record:
    """The ascent's own backward passes, which no other process's result can be compared with."""
    return once(2, "sft", directory, robustness={"method": "smart"}, **FSDP)


def untouched(host: str, directory: Path) -> bool:
    """Whether weight 0 trains as the host alone does."""
    found = []
    for settings in (None, Robustness(weight=0.0, interval=1, warmup=0.0)):
        torch.manual_seed(3)
        trained = hosts.trainer(host, directory, settings, lora=0.1, max_steps=2)
        trained.train()
        losses = [entry.get("loss") for entry in trained.state.log_history]
        found.append((hosts.parameters(trained), losses))
    (host_only, losses), (ours, other) = found
    return losses == other and all(torch.equal(host_only[n], ours[n]) for n in host_only)


def _rank(rank: int, port: int, out: Path) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    warnings.simplefilter("ignore")
    found: Record = {name: scene(2, out / str(rank)) for name, scene in SCENES.items()}
    for host in ("sft", "dpo", "grpo"):
        found[f"untouched {host}"] = untouched(host, out / str(rank))
    allow_fsdp_on_cpu()
    for name, scene in SHARDED.items():
        found[f"sharded {name}"] = scene(2, out / str(rank), **FSDP)
    found["smart"] = smart_under_fsdp(out / str(rank))
    torch.save(found, out / f"{rank}.pt")


def main(out: Path) -> int:
    """Fork two ranks, so that the libraries are imported once."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    fork = multiprocessing.get_context("fork")
    ranks = [fork.Process(target=_rank, args=(rank, port, out), daemon=True) for rank in (0, 1)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    return max(abs(rank.exitcode or 0) for rank in ranks)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
