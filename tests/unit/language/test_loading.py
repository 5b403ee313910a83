"""Models by their names."""

import pytest
import torch

pytest.importorskip("transformers")

from aajr.language.loading import load_model
from tests.unit.language import models
from tests.unit.language.models import case, tokenizer, victim


def pair():
    return models.model(), tokenizer()


def alone():
    return models.model()


def test_a_directory_is_read_back(tmp_path):
    one = victim()
    one.model.float().save_pretrained(tmp_path)
    one.tokenizer.save_pretrained(tmp_path)
    network, words = load_model(str(tmp_path), device="cpu")
    assert not network.training
    assert network.dtype == torch.float32
    assert words(case().texts[0]).input_ids == tokenizer()(case().texts[0]).input_ids


def test_a_function_returns_model_and_tokenizer():
    network, words = load_model("tests.unit.language.test_loading:pair", device="cpu")
    assert words is tokenizer()
    assert network.dtype == torch.float64
    with pytest.raises(ValueError, match="return model and tokenizer"):
        load_model("tests.unit.language.test_loading:alone")


def test_weights_that_run_code_are_not_read(tmp_path):
    one = victim()
    one.model.config.save_pretrained(tmp_path)
    torch.save(one.model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="was not found as safetensors"):
        load_model(str(tmp_path))
