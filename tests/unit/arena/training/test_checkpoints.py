"""Checkpoints: exact, atomic, and refused when they cannot be trusted."""

import json
import pickle
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from aajr.arena.training import checkpoints as module
from aajr.arena.training.checkpoints import CheckpointError, load_checkpoint, save_checkpoint

TENSORS = {"weight": torch.randn(3, 2), "step": torch.tensor(4), "state": torch.arange(5).byte()}


@pytest.fixture
def path(tmp_path):
    target = tmp_path / "run" / "checkpoint.safetensors"
    save_checkpoint(target, TENSORS, {"iteration": 7, "history": [{"a": 0.5}]})
    return target


def test_round_trip(path):
    tensors, meta = load_checkpoint(path)
    assert all(torch.equal(tensors[name], value) for name, value in TENSORS.items())
    assert (meta["iteration"], meta["history"]) == (7, [{"a": 0.5}])


def test_every_header_length_is_read(tmp_path):
    # the file begins with its header's length, which may look like a pickle's first byte
    for length in range(300):
        target = tmp_path / "c.safetensors"
        save_checkpoint(target, TENSORS, {"pad": "x" * length})
        assert load_checkpoint(target)[1]["pad"] == "x" * length


def test_a_kill_while_saving_keeps_the_old_file(path, monkeypatch):
    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(module.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, {"weight": torch.zeros(1)}, {})
    assert torch.equal(load_checkpoint(path)[0]["weight"], TENSORS["weight"])


def test_nan_in_the_metadata_is_not_written(path):
    with pytest.raises(ValueError, match="JSON"):
        save_checkpoint(path, TENSORS, {"loss": float("nan")})


class Hostile:
    ran = False

    def __reduce__(self):
        return (setattr, (Hostile, "ran", True))


def test_a_pickle_is_refused_and_never_run(tmp_path):
    target = tmp_path / "evil.pt"
    target.write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(CheckpointError, match="is a pickle"):
        load_checkpoint(target)
    torch.save({"a": torch.zeros(1)}, target)
    with pytest.raises(CheckpointError, match="is a pickle or a zip"):
        load_checkpoint(target)
    assert zipfile.is_zipfile(target)
    assert not Hostile.ran


@pytest.mark.parametrize("kept", [0, 1, 7, 9, 40, -1])
def test_a_truncated_file_is_named(path, kept):
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"truncated or not safetensors"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (None, "no aajr header"),
        ("{", "damaged header"),
        ("[]", "format version None"),
        (json.dumps({"format_version": 99}), "format version 99"),
    ],
)
def test_foreign_headers_are_refused(path, header, message):
    save_file(TENSORS, path, metadata=None if header is None else {"aajr": header})
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        load_checkpoint(tmp_path / "nothing")
